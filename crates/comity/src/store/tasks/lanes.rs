//! Lanes, as they are known here without asking the database. The number of one that was swept is never another's, and
//! a task for it is refused by the database: its group is tried again with nothing known.

use super::integer;
use super::rows::each_padded;
use super::transaction::Transaction;
use comity_core::task::{Offer, meets};
use comity_core::wire::mesh::task::read_requirements;
use sqlx::{AnyConnection, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Most lanes: pairs of a capability and requirements. A claim looks at those of its worker's capabilities. As many are
/// known here: some 100 KiB, or 40 MiB where all have the most and longest requirements.
const LANES_MAX: i64 = 4096;

/// Of them those that are left for whoever owns the queue.
const LANES_LEFT: i64 = 1024;

/// Most lanes that one other submitter makes.
const LANES_OF_ONE_MAX: i64 = 256;

/// What lanes there are.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// By capability and requirements.
    known: BTreeMap<(String, String), i64>,
    /// Those that were refused in this group, to whom: a capability, requirements, and who would have made it.
    refused: BTreeSet<(String, String, Option<String>)>,
    /// Whether these are all that there are: never on a server, where other processes make more.
    are_all: bool,
}

impl Lanes {
    /// Knows nothing any more: some may have been swept, or not been made.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Knows from now on only what holds for longer than one group.
    pub(super) fn keep(&mut self) {
        self.refused.clear();
        if integer(self.known.len() as u64) > LANES_MAX {
            self.forget();
        }
    }

    /// The lane of this capability and these requirements, made if it is missing, by this submitter or, where none is
    /// said, by whoever owns the queue; `None` when there are too many.
    pub(super) async fn of(
        &mut self,
        transaction: &mut Transaction<'_>,
        name: (String, String),
        maker: Option<&str>,
    ) -> Result<Option<i64>, sqlx::Error> {
        if let Some(lane) = self.known.get(&name) {
            return Ok(Some(*lane));
        }
        let refused = (name.0.clone(), name.1.clone(), maker.map(str::to_owned));
        if self.refused.contains(&refused) {
            return Ok(None);
        }
        let lane = find(transaction.connection().await?, &name, maker).await?;
        match lane {
            Some(lane) => drop(self.known.insert(name, lane)),
            None => drop(self.refused.insert(refused)),
        }
        Ok(lane)
    }

    /// The lanes whose tasks somebody who offers this is able to do: on a server as they are there now.
    pub(super) async fn able(
        &mut self,
        transaction: &mut Transaction<'_>,
        offer: &Offer,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let mut able = Vec::new();
        if transaction.is_server() {
            const LANES: &str = "SELECT seq, requirements FROM comity_lane WHERE capability IN ({})";
            let capabilities: Vec<_> = offer.capabilities.iter().collect();
            let rows = each_padded(transaction, (LANES, 1), &capabilities, |query, name| query.bind((*name).clone()));
            for row in rows.await? {
                let requirements: String = row.try_get(1)?;
                if is_met(&requirements, offer) {
                    able.push(row.try_get(0)?);
                }
            }
            return Ok(able);
        }
        if !self.are_all {
            let (connection, text) =
                transaction.begin_with("SELECT seq, capability, requirements FROM comity_lane".to_owned()).await?;
            for row in sqlx::query(text).fetch_all(connection).await? {
                self.known.insert((row.try_get(1)?, row.try_get(2)?), row.try_get(0)?);
            }
            self.are_all = true;
        }
        for capability in &offer.capabilities {
            let from = (capability.clone(), String::new());
            let lanes = self.known.range(from..).take_while(|((name, _), _)| name == capability);
            able.extend(lanes.filter(|((_, requirements), _)| is_met(requirements, offer)).map(|(_, lane)| *lane));
        }
        Ok(able)
    }
}

/// Whether who offers this has what these requirements say.
fn is_met(requirements: &str, offer: &Offer) -> bool {
    read_requirements(requirements).is_ok_and(|wanted| meets(&wanted, &offer.properties))
}

async fn find(
    connection: &mut AnyConnection,
    (capability, requirements): &(String, String),
    maker: Option<&str>,
) -> Result<Option<i64>, sqlx::Error> {
    const FIND: &str = "SELECT seq FROM comity_lane WHERE capability = $1 AND requirements = $2";
    let found = sqlx::query(FIND).bind(capability).bind(requirements).fetch_optional(&mut *connection).await?;
    if let Some(row) = found {
        return row.try_get(0).map(Some);
    }
    const COUNT: &str = "SELECT COUNT(*), COUNT(CASE WHEN made_by = $1 THEN 1 END) FROM comity_lane";
    let row = sqlx::query(COUNT).bind(maker).fetch_one(&mut *connection).await?;
    let (all, of_one): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let is_full = match maker {
        None => all >= LANES_MAX,
        Some(_) => all >= LANES_MAX - LANES_LEFT || of_one >= LANES_OF_ONE_MAX,
    };
    if is_full {
        return Ok(None);
    }
    const MAKE: &str =
        "INSERT INTO comity_lane (capability, requirements, made_by) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    sqlx::query(MAKE).bind(capability).bind(requirements).bind(maker).execute(&mut *connection).await?;
    sqlx::query(FIND).bind(capability).bind(requirements).fetch_one(connection).await?.try_get(0).map(Some)
}
