//! Rows of one table, many with each statement: a statement goes to the thread of the database and back, which takes
//! longer than most rows.

use sqlx::query_builder::{QueryBuilder, Separated};
use sqlx::{Sqlite, SqliteConnection};

/// Rows of one statement, largest first: of the small ones each at most once. Each size is prepared once; the values of
/// the largest stay below SQLite's 32,766 a statement.
const SIZES: [usize; 8] = [512, 64, 32, 16, 8, 4, 2, 1];

/// What the values of one row are bound to.
pub(super) type Values<'q> = Separated<'q, Sqlite, &'static str>;

/// Runs a statement over the values of these rows, which stand between `before` and `after` as `VALUES (…), (…)`.
pub(super) async fn each<T>(
    connection: &mut SqliteConnection,
    (before, after): (&'static str, &'static str),
    rows: impl IntoIterator<IntoIter: ExactSizeIterator<Item = T>>,
    bind: impl Fn(Values<'_>, T),
) -> Result<(), sqlx::Error> {
    let mut rows = rows.into_iter();
    for size in SIZES {
        while rows.len() >= size {
            let mut query = QueryBuilder::new(before);
            query.push_values(rows.by_ref().take(size), &bind).push(after);
            query.build().execute(&mut *connection).await?;
        }
    }
    Ok(())
}
