//! The table of federation: a figure with what is wanted of it, and beside it what Synapse does.

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// A line of the table: the figures of all rounds.
pub(super) struct Row {
    what: String,
    unit: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    goal: Option<Goal>,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, unit: &'static str, ours: Vec<f64>) -> Self {
        Self { what: what.into(), unit, ours, theirs: Vec::new(), goal: None }
    }

    pub(super) fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    pub(super) fn beside(self, theirs: Vec<f64>) -> Self {
        Self { theirs, ..self }
    }

    pub(super) fn print(&self) {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        let (goal, verdict) = match (self.goal, ours) {
            (Some(Goal::AtMost(most)), Some(ours)) => {
                (format!("<= {}{}", number(most), self.unit), held(ours <= most, ours / most))
            }
            (Some(Goal::AtLeast(least)), Some(ours)) => {
                (format!(">= {}{}", number(least), self.unit), held(ours >= least, ours / least))
            }
            _ => (String::new(), String::new()),
        };
        let ratio = ours.zip(theirs).map_or_else(String::new, |(ours, theirs)| format!("{:.3}", ours / theirs));
        let cells = (cell(&self.ours, self.unit), cell(&self.theirs, self.unit));
        line([&self.what, &cells.0, &goal, &verdict, &cells.1, &ratio]);
    }
}

/// Prints the heads of the columns.
pub(super) fn print_head() {
    println!("Median of the rounds (least to most); the ratio is comity to synapse.");
    line(["what", "comity", "goal", "of it", "synapse", "ratio"]);
}

fn line([what, ours, goal, verdict, theirs, ratio]: [&str; 6]) {
    println!("{what:<52} {ours:>26} {goal:>12} {verdict:>11} {theirs:>26} {ratio:>8}");
}

fn held(is_held: bool, ratio: f64) -> String {
    format!("{ratio:.2} {}", if is_held { "holds" } else { "missed" })
}

/// The median of the rounds.
pub(super) fn median(rounds: &[f64]) -> Option<f64> {
    let mut rounds = rounds.to_vec();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied()
}

fn cell(rounds: &[f64], unit: &str) -> String {
    let Some(middle) = median(rounds) else { return String::new() };
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match rounds.len() {
        1 => format!("{} {unit}", number(middle)),
        _ => format!("{} {unit} ({} to {})", number(middle), number(least), number(most)),
    }
}

fn number(figure: f64) -> String {
    if figure.abs() < 10.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}
