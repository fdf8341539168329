//! The table: contestants measured in turns, so that what else the machine does meets all of them,
//! and of each figure the median of the rounds, with the least and the most.

/// How often each contestant has its turn.
const ROUNDS: usize = 3;

/// Who is measured; the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contestant {
    Comity,
    Nats,
    Mosquitto,
}

const CONTESTANTS: [Contestant; 3] = [Contestant::Comity, Contestant::Nats, Contestant::Mosquitto];

/// What the figures of a line count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Micros,
    Millis,
    Seconds,
    PerSecond,
    KiB,
    Percent,
    /// A plain number.
    Count,
}

/// A line of the table: what is measured, in what, and what is wanted of it.
pub(crate) struct Line {
    what: String,
    unit: Unit,
    goal: &'static str,
}

/// A line without a goal.
pub(crate) fn line(what: impl Into<String>, unit: Unit) -> Line {
    Line { what: what.into(), unit, goal: "" }
}

impl Line {
    pub(crate) fn goal(self, goal: &'static str) -> Self {
        Self { goal, ..self }
    }
}

/// Prints the heads of the columns.
pub(crate) fn head() {
    println!("Median of {ROUNDS} rounds (least to most); the ratio is comity to nats.");
    print("what", &["comity", "nats", "mosquitto"].map(str::to_owned), "ratio", "goal");
}

/// Lets every contestant have its turn in every round, and prints a line for each figure that a
/// turn brings; a contestant that cannot take part brings `None`.
pub(crate) async fn in_turns<const N: usize>(
    lines: [Line; N],
    turn: impl AsyncFn(Contestant) -> Result<Option<[f64; N]>, String>,
) -> Result<(), String> {
    let mut columns = [const { Vec::new() }; CONTESTANTS.len()];
    for _ in 0..ROUNDS {
        for contestant in CONTESTANTS {
            columns[contestant as usize].extend(turn(contestant).await?);
        }
    }
    for (index, line) in lines.iter().enumerate() {
        let figures = columns.each_ref().map(|rounds| rounds.iter().map(|figures| figures[index]).collect());
        show(line, figures);
    }
    Ok(())
}

/// Prints a line of comity's own.
pub(crate) fn alone(line: &Line, figures: Vec<f64>) {
    show(line, [figures, Vec::new(), Vec::new()]);
}

fn show(line: &Line, columns: [Vec<f64>; CONTESTANTS.len()]) {
    let columns = columns.map(|mut rounds| {
        rounds.sort_unstable_by(f64::total_cmp);
        rounds
    });
    let median = |rounds: &[f64]| rounds.get(rounds.len() / 2).copied();
    let ratio = median(&columns[0]).zip(median(&columns[1])).map_or_else(String::new, |(a, b)| format!("{:.2}", a / b));
    print(&line.what, &columns.map(|rounds| cell(&rounds, line.unit)), &ratio, line.goal);
}

fn cell(rounds: &[f64], unit: Unit) -> String {
    let Some((least, most)) = rounds.first().zip(rounds.last()) else { return "-".to_owned() };
    let median = rounds[rounds.len() / 2];
    let number = |figure: f64| if figure.abs() < 10.0 { format!("{figure:.2}") } else { format!("{figure:.0}") };
    let unit = match unit {
        Unit::Micros => " us",
        Unit::Millis => " ms",
        Unit::Seconds => " s",
        Unit::PerSecond => "/s",
        Unit::KiB => " KiB",
        Unit::Percent => " %",
        Unit::Count => "",
    };
    if rounds.len() == 1 {
        return format!("{}{unit}", number(median));
    }
    format!("{}{unit} ({} to {})", number(median), number(*least), number(*most))
}

fn print(what: &str, columns: &[String; CONTESTANTS.len()], ratio: &str, goal: &str) {
    let [comity, nats, mosquitto] = columns;
    println!("{what:<48} {comity:>28} {nats:>28} {mosquitto:>28} {ratio:>6}  {goal}");
}
