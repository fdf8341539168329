//! `comity topic`, `role`, `project` and `room`: what of gossip the node listens to, and in which role.

use super::{stopped, watch};
use crate::args::{Project, Role, Room, Topic, Watch};
use crate::exit::Failure;
use crate::page::{Page, clean, say};
use crate::payload;
use comity_client::Client;
use comity_client::control::{self, OwnRole, Topics};
use comity_core::topic::{About, BadTopic, Topic as Named, Topics as Names};

pub(crate) async fn run(client: &Client, wanted: Topic, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Topic::Join { topic } => join(client, &topic, page).await,
        Topic::Leave { topic } => leave(client, &topic, page).await,
        Topic::List => {
            let listed = client.topics().await?;
            if page.json {
                return page.value(&listed);
            }
            listed.topics.iter().try_for_each(|topic| page.line(&clean(topic)))?;
            page.line("other libp2p programs reach this node at:")?;
            listed.addresses.iter().try_for_each(|address| page.line(&format!("  {}", clean(address))))
        }
    }
}

pub(crate) async fn role(client: &Client, wanted: Role, page: &mut Page) -> Result<(), Failure> {
    let shown = match wanted {
        Role::Set { role, expertise, reports_to } => {
            client.set_role(Some(&control::Role { role, expertise, reports_to })).await?
        }
        Role::Clear => client.set_role(None).await?,
        Role::Show => client.role().await?,
    };
    if page.json {
        return page.value(&shown);
    }
    let OwnRole { role, topics } = shown;
    page.line(&clean(&role.map_or("no role".to_owned(), |role| in_words(&role))))?;
    topics.iter().try_for_each(|topic| page.line(&format!("  {}", clean(topic))))
}

fn in_words(role: &control::Role) -> String {
    let about =
        if role.expertise.is_empty() { String::new() } else { format!(", knows {}", role.expertise.join(", ")) };
    let above = role.reports_to.as_ref().map_or(String::new(), |above| format!(", reports to {above}"));
    format!("{}{about}{above}", role.role)
}

pub(crate) async fn project(client: &Client, wanted: Project, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Project::Join { project } => join(client, named(Named::of_project(&project))?.name(), page).await,
        Project::Leave { project } => leave(client, named(Named::of_project(&project))?.name(), page).await,
        Project::List => {
            let (names, listed) = (Names::default(), client.topics().await?);
            let id = |topic: &String| match names.read(&Named::new(topic).ok()?) {
                About::Project(id) => Some(id.to_owned()),
                _ => None,
            };
            let projects: Vec<String> = listed.topics.iter().filter_map(id).collect();
            if page.json {
                return page.value(&serde_json::json!({ "projects": projects }));
            }
            projects.iter().try_for_each(|project| page.line(&clean(project)))
        }
    }
}

pub(crate) async fn room(client: &Client, wanted: Room, page: &mut Page) -> Result<(), Failure> {
    let topic = named(Named::of_issue(&wanted.issue))?.name().to_owned();
    if wanted.leave {
        return leave(client, &topic, page).await;
    }
    let Some(payload) = wanted.payload else {
        if !page.json {
            say(&format!("comity: listening to {}; stop with Ctrl-C", clean(&topic)));
        }
        return tokio::select! {
            ended = watch::run(client, Watch { target: Some(topic) }, page) => ended,
            asked = stopped() => asked,
        };
    };
    client.join_topic(&topic).await?;
    let said = control::Publish {
        payload: payload::read(&payload)?,
        topic,
        kind: None,
        priority: None,
        as_role: false,
        to_roles: Vec::new(),
        required_expertise: Vec::new(),
        project: None,
        thread: None,
    };
    client.publish(&said).await?;
    if page.json { page.value(&said) } else { page.line(&format!("published on {}", clean(&said.topic))) }
}

async fn join(client: &Client, topic: &str, page: &mut Page) -> Result<(), Failure> {
    let listed = client.join_topic(topic).await?;
    told(&listed, &format!("listening to {topic}"), page)
}

async fn leave(client: &Client, topic: &str, page: &mut Page) -> Result<(), Failure> {
    let listed = client.leave_topic(topic).await?;
    told(&listed, &format!("not listening to {topic} any more"), page)
}

fn told(listed: &Topics, said: &str, page: &mut Page) -> Result<(), Failure> {
    if page.json { page.value(listed) } else { page.line(&clean(said)) }
}

fn named(topic: Result<Named, BadTopic>) -> Result<Named, Failure> {
    topic.map_err(|bad| Failure::Usage(bad.to_string()))
}
