//! For whom a gossip message is: by role, by expertise, and never for its own author. Who may publish where is
//! decided in [`crate::topic`]; that a message is handed on once is the body's business. See "Messages" in
//! `protocols/pubsub.md`.

use crate::id::NodeId;
use crate::topic::Name;
use crate::wire::gossip::Envelope;
use std::collections::BTreeSet;

/// Who a node is among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The node.
    pub node: NodeId,
    /// The roles that it has.
    pub roles: BTreeSet<Name>,
    /// What it knows about.
    pub expertise: BTreeSet<Name>,
}

/// Why a message does not reach a node's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassedOver {
    /// The node wrote it itself, whoever handed it on.
    Own,
    /// It is for roles that the node does not have.
    OtherRole,
    /// It is for expertise that the node does not have.
    OtherExpertise,
}

/// Whether a message reaches the listeners of a node: it has one of the roles, and one of the kinds of expertise, that
/// the message names, if it names any.
pub fn admits(envelope: &Envelope, role: &Role) -> Result<(), PassedOver> {
    if envelope.from.node() == Some(role.node) {
        return Err(PassedOver::Own);
    }
    if !is_among(&envelope.to_roles, &role.roles) {
        return Err(PassedOver::OtherRole);
    }
    if !is_among(&envelope.required_expertise, &role.expertise) {
        return Err(PassedOver::OtherExpertise);
    }
    Ok(())
}

/// Whether one of the wanted names is there, in whichever spelling. What cannot be a name is nobody's.
fn is_among(wanted: &[String], there: &BTreeSet<Name>) -> bool {
    wanted.is_empty() || wanted.iter().filter_map(|text| Name::new(text).ok()).any(|name| there.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::key::KeyPair;
    use crate::time::Timestamp;
    use crate::wire::gossip::Kind;
    use serde_json::Map;

    fn names(texts: &[&str]) -> BTreeSet<Name> {
        texts.iter().map(|text| Name::new(text).expect("a name")).collect()
    }

    fn check(to_roles: &[&str], required_expertise: &[&str], expect: Result<(), PassedOver>) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let author = KeyPair::from_seed([1; 32]).node();
        let envelope = Envelope {
            to_roles: owned(to_roles),
            required_expertise: owned(required_expertise),
            ..Envelope::new(Kind::StatusUpdate, author.into(), Timestamp::from_millis(1), Map::new())
        };
        let role = Role {
            node: KeyPair::from_seed([2; 32]).node(),
            roles: names(&["Senior Developer", "tester"]),
            expertise: names(&["Rust"]),
        };
        assert_eq!(admits(&envelope, &role), expect, "{to_roles:?} {required_expertise:?}");
        let own = Role { node: author, ..role };
        assert_eq!(admits(&envelope, &own), Err(PassedOver::Own));
    }

    #[test]
    fn a_message_reaches_those_who_have_one_of_its_roles_and_one_of_its_kinds_of_expertise() {
        check(&[], &[], Ok(()));
        check(&["senior_developer"], &[], Ok(()));
        check(&["architect", " SENIOR developer "], &["go", "RUST"], Ok(()));
        check(&["architect"], &["rust"], Err(PassedOver::OtherRole));
        check(&["tester"], &["go"], Err(PassedOver::OtherExpertise));
        check(&[""], &[], Err(PassedOver::OtherRole));
        check(&[], &["\u{0}"], Err(PassedOver::OtherExpertise));
    }
}
