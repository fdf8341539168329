//! The configuration as it is written: every key once, with its type, its default and the text that
//! explains it. The structs, the table of keys and the example file all come from this list; what
//! the values mean is in the parent module.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A key that can be configured.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its full name, as in `http.port`.
    pub path: &'static str,
    /// What it means, line by line.
    pub about: &'static [&'static str],
    /// The form of its value.
    pub shape: Shape,
    /// A value to show where the default is empty, as TOML.
    pub example: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
}

impl Key {
    /// The environment variable that sets it: `COMITY_HTTP_PORT` for `http.port`.
    pub fn variable(&self) -> String {
        format!("COMITY_{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A whole number, zero or more.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of texts; in the environment separated by commas.
    List,
    /// Texts by name; in the environment `name=text` separated by commas.
    Map,
}

/// A Rust type that a key can have.
trait Written {
    const SHAPE: Shape;
}

impl Written for String {
    const SHAPE: Shape = Shape::Text;
}
impl Written for bool {
    const SHAPE: Shape = Shape::Flag;
}
impl Written for u16 {
    const SHAPE: Shape = Shape::Number;
}
impl Written for u64 {
    const SHAPE: Shape = Shape::Number;
}
impl Written for Vec<String> {
    const SHAPE: Shape = Shape::List;
}
impl Written for BTreeMap<String, String> {
    const SHAPE: Shape = Shape::Map;
}
impl<T: Written> Written for Option<T> {
    const SHAPE: Shape = T::SHAPE;
}

/// Turns the list below into one struct for each section and the tables [`KEYS`] and [`SECTIONS`].
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        section $section:ident $name:literal $prefix:literal {
            $( $(#[doc = $doc:literal])+ $key:ident: $kind:ty = $default:expr, $example:literal $($secret:ident)?; )+
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            pub(super) struct $section { $( $(#[doc = $doc])+ pub(super) $key: $kind, )+ }

            impl Default for $section {
                fn default() -> Self {
                    Self { $( $key: $default, )+ }
                }
            }
        )+

        /// Every key, in the order of the example file.
        pub const KEYS: &[Key] = &[ $( $( Key {
            path: concat!($prefix, stringify!($key)),
            about: &[$($doc),+],
            shape: <$kind as Written>::SHAPE,
            example: $example,
            secret: settings!(@secret $($secret)?),
        }, )+ )+ ];

        /// Every section: its name in TOML (empty for the first), and what it is about.
        pub(super) const SECTIONS: &[(&str, &[&str])] = &[ $( ($name, &[$($about),+]), )+ ];
    };
    (@secret secret) => { true };
    (@secret) => { false };
}

settings! {
    /// The node itself.
    section NodeKeys "" "" {
        /// The name that people see. Text of at most 128 bytes; unset: `node-` and the beginning of the key.
        /// Nothing is taken from the machine or the user, because the name is told to everybody on the network.
        name: Option<String> = None, "\"kitchen\"";
        /// What this node can do, for `comity peers --capability`. At most 32 words of 128 bytes; default: none.
        /// Each costs room in every announcement; what does not fit is read from the node itself.
        capabilities: Vec<String> = Vec::new(), "[\"search\", \"translate\"]";
        /// What else is told about this node, by name. Default: nothing, because everybody on the network reads it.
        /// At most 32 entries; names and values of at most 128 bytes.
        metadata: BTreeMap<String, String> = BTreeMap::new(), "{ room = \"4\" }";
        /// Nodes to connect to by name, `host:port` or `http://host:port`. Default: none; those on the same network
        /// are found without. They are tried even where the rules for learned addresses would forbid it.
        peers: Vec<String> = Vec::new(), "[\"192.168.1.20:8400\"]";
        /// Proxies whose `Forwarded` and `X-Forwarded-For` are believed, as addresses or networks. Default: none.
        /// One too many, and whoever sits there can claim any address; one too few, and all who come by it count
        /// as coming from a public address, so that only known peers are admitted.
        trusted_proxies: Vec<String> = Vec::new(), "[\"10.0.0.0/8\"]";
    }

    /// The network door: one port for HTTP/1.1, HTTP/2, TLS and links.
    section HttpKeys "http" "http." {
        /// Addresses to listen on. Default: all, IPv4 and IPv6. `["127.0.0.1"]` keeps the node to this machine: it is
        /// then announced on loopback alone, unless `mdns.interfaces` says otherwise.
        listen: Vec<String> = Vec::new(), "[\"192.168.1.10\"]";
        /// The first port to try; 0 lets the system choose. Unset: 8400, or the next free one up to 8499. A port
        /// that is set is taken or is an error, because whoever set it has told it to others.
        port: Option<u16> = None, "8400";
        /// The last port to try when earlier ones are taken. Unset: the port that is set, else 8499.
        port_last: Option<u16> = None, "8499";
        /// Origins (scheme, host and port) of web pages that may talk to this node. Default: none but its own.
        /// Every page served from a listed origin can then do what any program at the browser's address can.
        origins: Vec<String> = Vec::new(), "[\"https://desk.example.org\"]";
        /// Host names by which this node is called, besides addresses and `localhost`. Default: none. A name that
        /// is missing is answered with 421; this is what keeps foreign pages out that rebind their name.
        hosts: Vec<String> = Vec::new(), "[\"comity.example.org\"]";
    }

    /// Who is admitted.
    section LocalKeys "local" "local." {
        /// Who may talk to this node from private and loopback addresses: `open` (everybody), `verified` (who proves
        /// a key) or `known` (whose key is on the list). From other addresses it is always `known`. Default: `open`,
        /// so that plain programs on the network can take part; stricter shuts out all that speak plain HTTP, and
        /// unsigned announcements of MQTT.
        trust: String = "open".to_owned(), "";
    }

    /// Finding others on the local network by mDNS.
    section MdnsKeys "mdns" "mdns." {
        /// Whether to announce this node and to look for others. Default: true. Off, peers must be named or told.
        enabled: bool = true, "";
        /// Interfaces to use. Default: all but loopback; loopback when there is no other, or when the network door
        /// listens nowhere else. Naming them keeps announcements out of networks that are not yours, such as those
        /// of containers.
        interfaces: Vec<String> = Vec::new(), "[\"eth0\"]";
    }

    /// Finding others by MQTT brokers. Only announcements and the signaling of connections go through a broker.
    section MqttKeys "mqtt" "mqtt." {
        /// The brokers: `mqtt://host:port`, `mqtts://` (TLS), `ws://`, `wss://`, or `embedded` for one in this process.
        /// Default: none. Several are used at once, and their peers are merged. No user name or password in a URL;
        /// what follows a `?` is never logged.
        brokers: Vec<String> = Vec::new(), "[\"mqtts://broker.example.org\"]";
        /// Where the embedded broker listens. Default: 127.0.0.1:1883; port 0 lets the system choose. It asks nobody who
        /// they are: on an address that others reach, everybody there can announce and listen.
        listen: String = "127.0.0.1:1883".to_owned(), "";
        /// What all topics begin with. Default: `mindgit/kernels`. Only nodes with the same prefix find each other.
        prefix: String = "mindgit/kernels".to_owned(), "";
        /// Seconds between announcements. Default: 30; who misses three is gone. Less finds out sooner, and costs every
        /// node that listens a message each time. At most 1200.
        interval_seconds: u64 = 30, "";
        /// Who this node is to brokers. Unset: a name made of its secret key, another for each broker. Two connections
        /// with the same name throw each other out, so nobody should be able to guess it. The embedded broker tells
        /// it to whoever listens there.
        client_id: Option<String> = None, "\"kitchen\"";
        /// The user name for brokers. Unset: none.
        username: Option<String> = None, "\"kitchen\"";
        /// The password for brokers. Unset: none. It goes only over TLS, or to a broker on this machine.
        password: Option<String> = None, "\"…\"" secret;
        /// A file with the password, for those who keep secrets out of the configuration; from this file's folder when
        /// relative. Set this or `password`.
        password_file: Option<String> = None, "\"/run/secrets/mqtt\"";
        /// A token instead of a password, as cloud brokers give them. It is sent in the password's place.
        token: Option<String> = None, "\"…\"" secret;
        /// PEM file of the authorities by which brokers' certificates are checked. Unset: those of the system.
        ca_file: Option<String> = None, "\"/etc/comity/ca.pem\"";
        /// PEM file of the certificate that this node shows to brokers. Set both this and `key_file`, or none.
        cert_file: Option<String> = None, "\"/etc/comity/client.pem\"";
        /// PEM file of its private key.
        key_file: Option<String> = None, "\"/etc/comity/client-key.pem\"";
        /// Whether brokers' certificates are checked. Default: true; false is refused for brokers on other machines,
        /// because whoever is in between could then read the password.
        verify: bool = true, "";
        /// Whether this node's name and metadata are announced, too. Default: false, because whoever may read the
        /// broker's topics reads them.
        metadata: bool = false, "";
    }

    /// Connections by WebRTC, for peers whose port cannot be reached: through NATs, and through relays.
    section WebrtcKeys "webrtc" "webrtc." {
        /// Whether they are made and taken. Default: true. Off, only peers are reached whose port is.
        enabled: bool = true, "";
        /// Servers that tell this node how others see it (`stun:HOST`), or that relay (`turn:HOST`, by TCP
        /// `turn:HOST?transport=tcp`, by TLS `turns:HOST`; `:PORT` after the host). Default: none, which is enough where
        /// one side can be reached directly. Whoever runs such a server learns the addresses of this node.
        servers: Vec<String> = Vec::new(), "[\"turn:relay.example.org\"]";
        /// The name by which the relays know this node. Unset: none.
        username: Option<String> = None, "\"kitchen\"";
        /// Its password. Unset: none; not used when there is a secret.
        password: Option<String> = None, "\"…\"" secret;
        /// The secret that this node shares with the relays instead (`static-auth-secret` of coturn), from which names that
        /// end with `username` and passwords of a day are made. Unset: none.
        secret: Option<String> = None, "\"…\"" secret;
        /// A file with that secret, for those who keep secrets out of the configuration; from this file's folder when
        /// relative. Set this or `secret`.
        secret_file: Option<String> = None, "\"/run/secrets/turn\"";
        /// UDP ports to use, as in `50000-50099`; two for each connection and address. Unset: any. Too few, and connections
        /// fail when all are taken.
        ports: Option<String> = None, "\"50000-50099\"";
    }

    /// Gossip between nodes: topics that spread from node to node without a broker, by libp2p.
    section GossipKeys "gossip" "gossip." {
        /// Whether this node takes part. Default: true. It costs some megabytes, and a connection to each of its first 32
        /// peers.
        enabled: bool = true, "";
        /// Nodes to start from: libp2p addresses that end with the node's PeerId. Default: none, which is enough where
        /// peers are found otherwise.
        bootstrap: Vec<String> = Vec::new(), "[\"/ip4/192.0.2.7/tcp/8400/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp\"]";
        /// This node's part in the DHT, by which nodes find each other across networks: `off`, `client` (asks), `server`
        /// (answers too), or `auto` (answers once others have reached it). Default: `auto`.
        dht: String = "auto".to_owned(), "";
        /// Whether this node passes on connections between others that cannot reach each other. Default: false, because
        /// it lends them its bandwidth: 64 MiB an hour for each connection, 16 at once.
        relay: bool = false, "";
        /// Nodes that relay, by which others reach this one; written as for `bootstrap`. Default: none. Needed behind a NAT
        /// that lets nobody in.
        relays: Vec<String> = Vec::new(), "[\"/ip4/192.0.2.7/tcp/8400/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp\"]";
        /// The topic of task coordination. Default: `CHORUS/coordination/v1`. Only nodes with the same name hear each
        /// other on it.
        coordination: String = "CHORUS/coordination/v1".to_owned(), "";
        /// The topic of meta-discussion and roles. Default: `hmmm/meta-discussion/v1`.
        meta: String = "hmmm/meta-discussion/v1".to_owned(), "";
        /// The topic of context feedback. Default: `CHORUS/context-feedback/v1`.
        context: String = "CHORUS/context-feedback/v1".to_owned(), "";
    }

    /// The certificate shown to browsers and other clients that are not nodes.
    section TlsKeys "tls" "tls." {
        /// PEM file of the certificate chain; from this file's folder when relative. Unset: the node's own
        /// certificate, which nodes check by its key but browsers warn about.
        cert: Option<String> = None, "\"/etc/comity/cert.pem\"";
        /// PEM file of its private key. Set both or none.
        key: Option<String> = None, "\"/etc/comity/key.pem\"";
    }

    /// Federation with other organisations: channels and tools shared over the internet, by plain signed HTTPS.
    section FederationKeys "federation" "federation." {
        /// The name under which this node speaks for its organisation: a DNS name, and a port unless it is 443. Unset: it
        /// takes no part. Others find it at `https://<origin>/.well-known/smcp/server`; it never changes.
        origin: Option<String> = None, "\"example.org\"";
        /// Where others reach this node, a URL. Unset: `https://` and the origin. Set it where the well-known document is
        /// served by another machine, or the port differs.
        endpoint: Option<String> = None, "\"https://comity.example.org:8400\"";
        /// What a proxy in front of this node takes off the beginning of paths, as in `/comity`: requests are signed with
        /// it. Unset: nothing, or the path of the endpoint above.
        public_base: Option<String> = None, "\"/comity\"";
        /// Origins whose invitations are accepted at once; `*`: all. Default: none, a person accepts them.
        accept: Vec<String> = Vec::new(), "[\"partner.example\"]";
        /// Origins that get 403 and nothing more. Default: none.
        blocked: Vec<String> = Vec::new(), "[\"spam.example\"]";
        /// Private networks in which other origins may be, as addresses or networks. Default: none, so that nobody's name
        /// leads this node into its own network. Loopback is one of them; a node whose own origin is `localhost` finds
        /// others there without this.
        networks: Vec<String> = Vec::new(), "[\"10.7.0.0/16\"]";
        /// Origins that are asked by HTTP without TLS. Default: none but those on loopback.
        plain: Vec<String> = Vec::new(), "[\"lab.example:8400\"]";
        /// PEM file of further authorities by which other origins' certificates are checked. Unset: those of the system
        /// alone.
        ca_file: Option<String> = None, "\"/etc/comity/ca.pem\"";
        /// How much one member may have stored on one channel that this node orders: a size as in `64MiB`. Default:
        /// `256MiB`. What it says beyond that is refused.
        quota: String = "256MiB".to_owned(), "";
        /// Events a second that one origin may say on one channel that this node orders. Default: 500. What is more waits
        /// with whoever says it. Too many, and one member can keep the disk of all others busy.
        events_per_second: u64 = 500, "";
        /// Invitations an hour of one origin. Default: 10. More where many channels are shared with the same organisation.
        invitations_per_hour: u64 = 10, "";
        /// Requests a minute that one origin may make, besides events of channels that it shares with this one. Default:
        /// 120. More where tools of this node are called often.
        requests_per_minute: u64 = 120, "";
        /// Seconds between comparisons of a channel's line with its hub and with other members, one at a time. Default: 60.
        /// Fewer find out sooner what a hub holds back or shows to some only, and cost requests.
        compare_seconds: u64 = 60, "";
    }

    /// The mesh: documents that are searched by what they mean, here and at the nodes that this one knows.
    section MeshKeys "mesh" "mesh." {
        /// Whether this node has an index of documents and asks others. Default: true. It costs little while nothing is
        /// indexed.
        enabled: bool = true, "";
        /// Numbers of each vector. Default: 256. All nodes of a mesh have the same; an index that has documents keeps the one
        /// it was made for. More tell documents apart better, and cost memory: a byte each in memory, four on disk.
        dimension: u64 = 256, "";
        /// How vectors become points: `sphere` (their direction counts) or `simplex` (they are distributions: no number
        /// is below zero). Default: `sphere`. All nodes of a mesh have the same.
        projection: String = "sphere".to_owned(), "";
        /// What makes vectors of texts: `hash` (built in: it finds words, not meanings), the path of a static table of
        /// embeddings (safetensors, with `vocab.txt` beside it), or the URL of an OpenAI-compatible embeddings server, as
        /// in `http://127.0.0.1:8081/v1`. Default: `hash`. All nodes of a mesh have the same; an index keeps the one it was
        /// made for. Every text that is indexed or looked for is sent to that server.
        encoder: String = "hash".to_owned(), "";
        /// The model, as that server calls it. Unset: none; wanted for a server. `mesh.dimension` is how many numbers it gives.
        encoder_model: Option<String> = None, "\"all-MiniLM-L6-v2\"";
        /// Bearer token for that server. Unset: none.
        encoder_token: Option<String> = None, "\"…\"" secret;
        /// Nodes whose documents are kept here, too, and found also while they are away: their ids, or `*` for all known
        /// nodes, with what their documents count: `full`, `partial` (half) or `observer` (found only when that node is
        /// asked for by name). What `full` ones know (`comity know`) is kept here, too. Default: none. Each document takes
        /// about 2 KiB on disk here.
        sources: BTreeMap<String, String> = BTreeMap::new(), "{ \"*\" = \"partial\" }";
        /// Seconds between readings of what has changed at those nodes; what they tell of is read at once. Default: 60.
        sync_interval_seconds: u64 = 60, "";
        /// A PostgreSQL database in which tasks are kept, and the registry of a coordinator, for several nodes that share
        /// one queue, or one registry, and act as one. Unset: files of this node's.
        store: Option<String> = None, "\"postgres://comity:…@db.example/comity?sslmode=verify-full\"" secret;
        /// Whether this node is the registry of a mesh (`comity up --coordinator`): nodes that it enrolled, or knows,
        /// register with it, and find each other by it. Default: false.
        coordinator: bool = false, "";
        /// The registry that this node registers with, a URL; without TLS on this machine only. Unset: none.
        coordinator_url: Option<String> = None, "\"https://registry.example.org:8400\"";
        /// The registry's node id (`comity id` prints it there). With it, its certificate is checked by that key; unset: by
        /// the authorities of this system, as for any web server.
        coordinator_key: Option<String> = None, "\"ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"";
        /// PEM file of further authorities by which the registry's certificate is checked. Unset: those of the system alone.
        ca_file: Option<String> = None, "\"/etc/comity/ca.pem\"";
        /// The name under which this node registers, 1 to 128 characters. Unset: its node id where `coordinator_key` is set, by
        /// which it is proved; else the UUID of its key.
        node_id: Option<String> = None, "\"kernel-7\"";
        /// What this node shows the registry the first time: an enrolment token (`comity mesh enroll` prints one there) or an
        /// API key. The API key that it gets for a token is kept in the data directory.
        api_key: Option<String> = None, "\"cmt_0000000000000000000000000000000000000000000000000000000000000000\"" secret;
        /// A file with the same, instead.
        api_key_file: Option<String> = None, "\"/run/secrets/mesh-api-key\"";
    }

    /// What others may use of this node. Each limit protects memory and patience; too small, and peers that do nothing
    /// wrong are refused (they are told so, and it is counted).
    section LimitKeys "limits" "limits." {
        /// Messages a second that one peer may send for long. Default: 10, what a talkative agent needs. Too large, and
        /// one peer can keep this node busy.
        messages_per_second: u64 = 10, "";
        /// Messages that one peer may send at once. Default: 20, two seconds' worth. Less than a second's worth makes
        /// ordinary bursts fail.
        messages_burst: u64 = 20, "";
        /// Messages a second from one address whose senders are neither linked nor known; keys are free to make, so a
        /// signature alone does not count. Default: 100, for many programs behind it.
        unverified_per_second: u64 = 100, "";
        /// HTTP requests a minute from one address, or of one known peer. Default: 120. Pages that poll need more.
        requests_per_minute: u64 = 120, "";
        /// Connections in all. Default: 4096, about 160 MiB if every one were a TLS link. Keep it below the limit of
        /// open files.
        connections: u64 = 4096, "";
        /// Connections from one address, except loopback. Default: 64. Offices behind one address need more.
        connections_per_address: u64 = 64, "";
        /// Largest request body, bytes. Default: 1 MiB, four times the largest message. Each open request may hold it.
        body_bytes: u64 = 1024 * 1024, "";
        /// Largest request head, bytes. Default: 16 KiB; browsers with many cookies come near it.
        header_bytes: u64 = 16 * 1024, "";
        /// Seconds to send the request head. Default: 10. Longer lets slow senders hold connections.
        header_seconds: u64 = 10, "";
        /// Seconds to send the request body. Default: 30, a slow phone's MiB.
        body_seconds: u64 = 30, "";
        /// Seconds by which others' clocks may be ahead, and signed requests off. Default: 60. Less refuses machines
        /// without time synchronisation; more widens the time in which a stolen request can be replayed.
        clock_skew_seconds: u64 = 60, "";
        /// Message ids remembered, so that each message is handled once. Default: 1,000,000, at most about 64 MiB. When
        /// it is full, new messages are refused until the oldest run out (twice their ttl): raise it for high rates.
        seen: u64 = 1_000_000, "";
        /// Messages that wait for one peer. Default: 8192. Below 5000, messages that are already on their way when
        /// senders are told to wait may find no room; more keep memory.
        queue_messages: u64 = 8192, "";
        /// Bytes that wait for one peer. Default: 16 MiB, 64 of the largest messages.
        queue_bytes: u64 = 16 * 1024 * 1024, "";
    }

    /// What waits for the application.
    section InboxKeys "inbox" "inbox." {
        /// Items kept. Default: 1000. When it is full, the oldest of the lowest priority goes first, and is counted.
        items: u64 = 1000, "";
        /// Days that an item is kept. Default: 7, so that a week away loses nothing.
        days: u64 = 7, "";
    }

    /// The metrics door: `/metrics` and `/health`.
    section MetricsKeys "metrics" "metrics." {
        /// Whether it is open. Default: true.
        enabled: bool = true, "";
        /// The address to listen on. Default: 127.0.0.1, because the figures say whom this node knows and how busy it is.
        listen: String = "127.0.0.1".to_owned(), "";
        /// The port. Unset: 8500, or the next free one up to 8599; one that is set is taken or is an error.
        port: Option<u16> = None, "8500";
        /// Whether the node leaves, with a goodbye, when a critical health check fails three times in a row. Default:
        /// false, because it still serves what does not need the part that fails; true where something restarts it.
        stop_on_failure: bool = false, "";
    }

    /// The control door: what commands, agents and browsers on this machine may ask. Commands use a socket in the data
    /// directory, which is always there.
    section ControlKeys "control" "control." {
        /// Whether browsers, and agents that speak MCP over HTTP, reach it by a port on loopback. Default: true. They must
        /// show the token in the data directory, or a session opened by a code of `comity code`.
        http: bool = true, "";
        /// The port. Unset: 8600, or the next free one up to 8699; one that is set is taken or is an error.
        port: Option<u16> = None, "8600";
    }

    /// Agents that speak MCP with this node.
    section McpKeys "mcp" "mcp." {
        /// What each may use, by the name it gives itself: `all`, `none`, or names of tools; `*` is everybody else.
        /// Default: all may use all. It keeps tools from agents that should not have them by mistake; an agent that
        /// lies about its name is not stopped by it.
        clients: BTreeMap<String, String> = BTreeMap::new(), "{ \"*\" = \"all\", guest = \"network_status network_peers\" }";
    }

    /// Secrets are taken out of what leaves this node, of its journal and of its log.
    section RedactionKeys "redaction" "redaction." {
        /// Whether they are. Default: true. It costs about two microseconds for each KiB that is sent. Switched off, the
        /// node says so in its log and in its health.
        enabled: bool = true, "";
        /// Built-in rules that are not used, by name. Default: none.
        off: Vec<String> = Vec::new(), "[\"link-path\"]";
        /// Rules besides the built-in ones: names, and regular expressions without look-around. If one has a group, the
        /// group is the secret. Default: none. Each costs a search of every text.
        rules: BTreeMap<String, String> = BTreeMap::new(), "{ badge = \"badge ([0-9]{6})\" }";
    }

    /// The journal: what is said and heard on topics, written once and signed.
    section JournalKeys "journal" "journal." {
        /// How much it keeps before its oldest entries are dropped under a signed checkpoint: a size as in `512MiB` or
        /// `2GiB`, at least `1MiB`. Default: `1GiB`, two million ordinary entries. Copies of other nodes' journals are held
        /// to the same size, each. Too little, and a follower that was away for long misses what was dropped meanwhile.
        keep: String = "1GiB".to_owned(), "";
    }

    /// Traces for an OpenTelemetry collector.
    section OtlpKeys "otlp" "otlp." {
        /// Where traces are sent, by HTTP and protobuf: the collector's URL without `/v1/traces`. Unset: nowhere.
        /// Traces name messages, peers and channels, never contents. Only `http://`, because a collector belongs beside
        /// the node; it passes them on as far and as safely as wanted. Without a name and password in it.
        endpoint: Option<String> = None, "\"http://127.0.0.1:4318\"";
        /// Bearer token for the collector. Unset: none. It is never shown, but it travels as plainly as the traces.
        token: Option<String> = None, "\"…\"" secret;
    }

    /// What is written to standard error.
    section LogKeys "log" "log." {
        /// `text` for people or `json` for programs. Default: `text`.
        format: String = "text".to_owned(), "";
        /// What is written, as in `info` or `warn,comity::link=debug`; the variable COMITY_LOG is read first.
        /// Default: `info`, without what the libraries of MCP, MQTT, libp2p, STUN and TURN say of every call. `debug` writes
        /// several lines for each message.
        filter: String = "info,libp2p=error,mqtt5=warn,rmcp=warn,stun_proto=off,turn_client_proto=off".to_owned(), "";
    }
}

/// The whole configuration as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Document {
    #[serde(flatten)]
    pub(super) node: NodeKeys,
    pub(super) http: HttpKeys,
    pub(super) local: LocalKeys,
    pub(super) mdns: MdnsKeys,
    pub(super) mqtt: MqttKeys,
    pub(super) webrtc: WebrtcKeys,
    pub(super) gossip: GossipKeys,
    pub(super) tls: TlsKeys,
    pub(super) federation: FederationKeys,
    pub(super) mesh: MeshKeys,
    pub(super) limits: LimitKeys,
    pub(super) inbox: InboxKeys,
    pub(super) metrics: MetricsKeys,
    pub(super) control: ControlKeys,
    pub(super) mcp: McpKeys,
    pub(super) redaction: RedactionKeys,
    pub(super) journal: JournalKeys,
    pub(super) otlp: OtlpKeys,
    pub(super) log: LogKeys,
}
