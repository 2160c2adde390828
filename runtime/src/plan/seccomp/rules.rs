//! The conditional rules of one system call, in the order they are tried.
//!
//! libseccomp keeps such rules as a tree of comparisons of 32-bit halves:
//! among siblings a higher argument comes first, then equality before
//! less-than before greater-than, then the larger value (the smaller for
//! less-than), then the rule that was added first. Rules that start with the
//! same comparisons share a branch. A rule is therefore not simply tried in the
//! order of the profile; the first match in the tree's order decides. Here the
//! rules are a flat list kept in that order.

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, 0 to 5.
    pub(super) arg: u8,
    /// How it is compared.
    pub(super) op: Op,
    /// With what; for [`Op::MaskedEq`] no bit outside the mask is set.
    pub(super) value: u64,
    /// Which bits are compared; all of them but for [`Op::MaskedEq`].
    pub(super) mask: u64,
}

/// A comparison operator (`SCMP_CMP_*`), unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

impl Condition {
    /// The condition as a 32-bit convention sees it.
    pub(super) fn narrow(self) -> Condition {
        let low = u64::from(u32::MAX);
        Condition { value: self.value & low, mask: self.mask & low, ..self }
    }

    /// Whether it holds for every value.
    pub(super) fn is_vacuous(&self) -> bool {
        self.op == Op::MaskedEq && self.mask == 0
    }

    /// The 32-bit comparisons that decide it, most significant first.
    fn steps(&self, wide: bool) -> impl Iterator<Item = Step> {
        let low = self.step(false);
        let (first, second) = match (wide, self.op) {
            (false, _) => (None, None),
            (true, Op::Ne | Op::Eq | Op::MaskedEq) => (None, Some(self.step(true))),
            (true, _) => {
                let high = self.step(true);
                (Some(Step { test: Test::Gt, ..high }), Some(Step { test: Test::Eq, ..high }))
            }
        };
        first.into_iter().chain(second).chain(Some(low))
    }

    fn step(&self, high: bool) -> Step {
        let half = |value: u64| if high { (value >> 32) as u32 } else { value as u32 };
        let (test, class) = match self.op {
            Op::Eq | Op::Ne => (Test::Eq, 3),
            Op::MaskedEq => (Test::MaskedEq, 3),
            Op::Le => (Test::Gt, 2),
            Op::Lt => (Test::Ge, 2),
            Op::Gt => (Test::Gt, 1),
            Op::Ge => (Test::Ge, 1),
        };
        let priority = (self.arg << 1) + u8::from(high);
        Step { priority, class, test, value: half(self.value), mask: half(self.mask) }
    }
}

/// What a 32-bit comparison asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Eq,
    MaskedEq,
    Gt,
    Ge,
}

/// A comparison of one half of an argument: a node of libseccomp's tree.
#[derive(Debug, Clone, Copy)]
struct Step {
    priority: u8,
    class: u8,
    test: Test,
    value: u32,
    mask: u32,
}

impl Step {
    /// Whether both ask the same.
    fn is(&self, other: &Step) -> bool {
        (self.priority, self.test, self.value, self.mask)
            == (other.priority, other.test, other.value, other.mask)
    }

    /// Whether `other` is tried before this one.
    fn yields_to(&self, other: &Step) -> bool {
        let rank = |step: &Step| (step.priority, step.class);
        match rank(self).cmp(&rank(other)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal if self.class == 2 => self.value > other.value,
            std::cmp::Ordering::Equal => self.value < other.value,
        }
    }
}

/// All conditions hold -> the action.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// By rising argument, each argument once, none vacuous.
    pub(super) conditions: Vec<Condition>,
    /// What the filter returns.
    pub(super) action: u32,
    steps: Vec<Step>,
}

impl Rule {
    /// A rule; `conditions` has each argument at most once.
    pub(super) fn new(mut conditions: Vec<Condition>, action: u32, wide: bool) -> Rule {
        conditions.sort_by_key(|condition| condition.arg);
        let steps = conditions.iter().flat_map(|condition| condition.steps(wide)).collect();
        Rule { conditions, action, steps }
    }
}

/// Why a rule cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// An earlier one asks the same and answers differently.
    Contradiction,
    /// So many that the program cannot be short enough for the kernel.
    TooMany,
}

/// How many rules a program has room for: each loads and compares at least once.
pub(super) const MOST: usize = super::MAX_INSTRUCTIONS / 2;

/// Adds a rule where libseccomp would try it.
///
/// A rule that begins with all conditions of an earlier one can never be
/// reached and is dropped; one that an earlier rule begins with replaces it.
/// Where that would change an answer already given, libseccomp refuses the
/// profile (EEXIST), and so do we.
pub(super) fn add(rules: &mut Vec<Rule>, new: Rule) -> Result<(), Refusal> {
    for rule in rules.iter() {
        if new.conditions.starts_with(&rule.conditions) {
            let same_length = new.conditions.len() == rule.conditions.len();
            return if same_length && new.action != rule.action {
                Err(Refusal::Contradiction)
            } else {
                Ok(())
            };
        }
    }
    let covered = |rule: &Rule| rule.conditions.starts_with(&new.conditions);
    if rules.iter().any(|rule| covered(rule) && rule.action != new.action) {
        return Err(Refusal::Contradiction);
    }
    rules.retain(|rule| !covered(rule));
    let at = position(rules, &new);
    rules.insert(at, new);
    Ok(())
}

/// Where in `rules` the tree would have the new rule.
fn position(rules: &[Rule], new: &Rule) -> usize {
    let (mut at, mut end) = (0, rules.len());
    'level: for (depth, step) in new.steps.iter().enumerate() {
        while at < end {
            let Some(head) = rules[at].steps.get(depth) else {
                at += 1;
                continue;
            };
            let shares = |rule: &Rule| rule.steps.get(depth).is_some_and(|step| step.is(head));
            let branch = at + rules[at..end].iter().take_while(|rule| shares(rule)).count();
            if head.is(step) {
                end = branch;
                continue 'level;
            }
            if head.yields_to(step) {
                return at;
            }
            at = branch;
        }
        return end;
    }
    end
}
