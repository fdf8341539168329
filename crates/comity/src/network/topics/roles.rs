//! A node's role among others: the topics that belong to it, and what is said in it. Projects and rooms are topics of
//! their own. See "Topics" in `protocols/pubsub.md`.

use super::{Said, TOPICS_MAX, TopicError, Topics, read};
use comity_core::audience::Role;
use comity_core::topic::{BadTopic, Name, Topic};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a node is, what it knows about, and whom it reports to, in its owner's words: topics spell "Senior Developer"
/// as `senior_developer`, and compare them so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRole {
    /// The role, 1 to 128 bytes.
    pub role: String,
    /// What it knows about.
    pub expertise: Vec<String>,
    /// Its supervisor.
    pub reports_to: Option<String>,
}

impl OwnRole {
    pub(super) fn to_value(&self) -> Value {
        json!({ "role": self.role, "expertise": self.expertise, "reports_to": self.reports_to })
    }

    pub(super) fn of_value(value: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let role = text(&value["role"])?;
        let expertise = value["expertise"].as_array().into_iter().flatten().filter_map(text).collect();
        Some(Self { role, expertise, reports_to: text(&value["reports_to"]) })
    }

    /// The topics that belong to it.
    fn topics(&self) -> Result<BTreeSet<Topic>, TopicError> {
        let named = |text: &str| Name::new(text).map_err(TopicError::Name);
        let mut topics = vec![Topic::of_role(&named(&self.role)?)];
        for one in &self.expertise {
            topics.push(Topic::of_expertise(&named(one)?));
        }
        if let Some(supervisor) = &self.reports_to {
            topics.push(Topic::of_hierarchy(&named(supervisor)?));
        }
        // Each must also be a channel here, under which it is watched.
        topics.iter().map(|topic| read(topic.name())).collect()
    }
}

impl Topics {
    /// Takes a role, also after restarts: listens to its topics, and to what is addressed to it. An earlier role ends.
    ///
    /// # Errors
    /// [`TopicError`].
    pub async fn join_roles(
        &self,
        role: &str,
        expertise: &[String],
        reports_to: Option<&str>,
    ) -> Result<(), TopicError> {
        let role =
            OwnRole { role: role.to_owned(), expertise: expertise.to_vec(), reports_to: reports_to.map(str::to_owned) };
        self.take_role(Some(role)).await?;
        self.keep().await
    }

    /// Gives up the role and leaves its topics.
    ///
    /// # Errors
    /// [`TopicError::NotKept`].
    pub async fn leave_roles(&self) -> Result<(), TopicError> {
        self.take_role(None).await?;
        self.keep().await
    }

    /// The node's role.
    pub fn role(&self) -> Option<OwnRole> {
        self.state().role.clone()
    }

    /// Publishes a message in the node's role, on the topic of its type.
    ///
    /// # Errors
    /// [`TopicError::NoRole`], and as [`Topics::publish_to`].
    pub async fn publish_as_role(&self, said: Said) -> Result<(), TopicError> {
        let role = self.role().ok_or(TopicError::NoRole)?;
        let topic = self.names().of_kind(said.kind).clone();
        self.publish_to(topic.name(), Said { from_role: Some(role.role), ..said }).await
    }

    /// Listens to a project, also after restarts, and gives the topic on which it is coordinated.
    ///
    /// # Errors
    /// [`TopicError`].
    pub async fn join_project(&self, id: &str) -> Result<Topic, TopicError> {
        self.join_topic(Topic::of_project(id)).await
    }

    /// Listens to the room of an issue, also after restarts, and gives its topic. What is said there is raw.
    ///
    /// # Errors
    /// [`TopicError`].
    pub async fn join_room(&self, issue: &str) -> Result<Topic, TopicError> {
        self.join_topic(Topic::of_issue(issue)).await
    }

    async fn join_topic(&self, topic: Result<Topic, BadTopic>) -> Result<Topic, TopicError> {
        let topic = topic.map_err(TopicError::Name)?;
        self.join(topic.name()).await?;
        Ok(topic)
    }

    /// Listens to the topics of this role and to no other role's.
    pub(super) async fn take_role(&self, role: Option<OwnRole>) -> Result<(), TopicError> {
        let topics = role.as_ref().map(OwnRole::topics).transpose()?.unwrap_or_default();
        let (left, joined) = {
            let mut state = self.state();
            if state.joined.len() + topics.len() > TOPICS_MAX {
                return Err(TopicError::TooMany);
            }
            let is_other = |topic: &&Topic| !state.joined.contains(*topic);
            let left: Vec<Topic> = state.of_role.difference(&topics).filter(is_other).cloned().collect();
            let joined: Vec<Topic> = topics.difference(&state.of_role).filter(is_other).cloned().collect();
            let name = |text: &String| Name::new(text).ok();
            state.audience = Role {
                node: state.audience.node,
                roles: role.iter().filter_map(|role| name(&role.role)).collect(),
                expertise: role.iter().flat_map(|role| &role.expertise).filter_map(name).collect(),
            };
            (state.role, state.of_role) = (role, topics);
            (left, joined)
        };
        for topic in left {
            self.0.gossip.leave(topic.name().to_owned()).await;
        }
        for topic in joined {
            self.0.gossip.join(topic.name().to_owned()).await;
        }
        Ok(())
    }
}
