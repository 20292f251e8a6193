//! `txcat advise`: which lever to pull next, with what it costs and what would change that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, builder::BoolishValueParser};

use super::{
    Settings, chat,
    service::{self, DEMO_ADAPTER, StageFiles, with_store},
};
use crate::{
    advise::{
        self, Advice, Costs, Known, Looking, Scenario,
        accuracy::Share,
        range::Range,
        report,
        scenario::{ErrorCosts, Reply},
        setup::TokenPrice,
    },
    categorize::{Engine, PROMPT_ENGINE, StageEntry},
    clock,
    domain::{Currency, Taxonomy, adapter::EVERYONE},
    llm::Price,
    model::AdapterFacts,
    store::Store,
};

/// Says which lever to pull next: a better prompt, retrieval, labels, fine-tuning or another model, with what each costs.
///
/// Six questions are answered in their order, each with its evidence; the first answer that stops names the lever. Then
/// each option's accuracy, outlay, monthly cost, payback and price of a point, the prompt length from which on a claimed
/// payback holds, and what would change the decision.
///
/// Without a scenario, or with one that does not say what answers today, this deployment is advised: its accuracy comes from
/// the tracker (`txcat eval`), good labels from the label gate (`txcat data check`, POST /v1/datasets), volume and tokens
/// from the last 30 days. What nobody knows is asked for, with the flag that answers it. A flag goes before the scenario.
#[derive(Debug, Args)]
pub struct Options {
    /// The case, in TOML, or in JSON where the name ends so. eval/scenarios/fintech.toml shows every member.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,

    /// What levers cost where nobody states it. [default: the table that comes with the program]
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Print Markdown instead of tables.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,

    /// What nothing measured.
    #[command(flatten)]
    pub said: Said,

    /// The stage that answers today, in this deployment. [default: the one that the stage file serves]
    #[arg(long, env = "TXCAT_STAGE", value_name = "STAGE")]
    pub today: Option<String>,

    /// The adapter that answers, whatever the registry says. [default: the registry's champion; where there is none yet, the
    /// demo that a new deployment begins with]
    #[arg(long, env = "TXCAT_ADAPTER", value_name = "DIR")]
    pub adapter: Option<PathBuf>,

    /// The taxonomy that it answers in: a TOML file, or a data set's categories.csv. [default: the consumer taxonomy]
    #[arg(long, env = "TXCAT_TAXONOMY", value_name = "FILE")]
    pub taxonomy: Option<PathBuf>,

    /// Where stages and prompts are.
    #[command(flatten)]
    pub files: StageFiles,
}

/// What nothing measured, and a person says. An amount is a number such as 120, or two such as 70..1000.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What nothing measured")]
pub struct Said {
    /// Transactions a month.
    #[arg(long, value_name = "N")]
    pub transactions_per_month: Option<u64>,

    /// Good labelled examples.
    #[arg(long, value_name = "N")]
    pub labels: Option<u64>,

    /// The accuracy that is wanted, from 0 to 1.
    #[arg(long, value_name = "SHARE")]
    pub target: Option<Share>,

    /// Months within which an outlay must come back. [default: 12]
    #[arg(long, value_name = "MONTHS", value_parser = clap::value_parser!(u32).range(1..))]
    pub horizon: Option<u32>,

    /// Whether right answers need facts that change, or that no model has seen: yes or no.
    #[arg(long, value_name = "YES|NO", value_parser = BoolishValueParser::new())]
    pub private_or_current_data: Option<bool>,

    /// Whether the model must behave in one way consistently, which words did not bring it to: yes or no.
    #[arg(long, value_name = "YES|NO", value_parser = BoolishValueParser::new())]
    pub consistent_behaviour: Option<bool>,

    /// Whether there is somebody to train a model again and watch it: yes or no.
    #[arg(long, value_name = "YES|NO", value_parser = BoolishValueParser::new())]
    pub maintainable: Option<bool>,

    /// What an hour of a machine costs.
    #[arg(long, value_name = "AMOUNT")]
    pub machine_per_hour: Option<Range>,

    /// What a week of engineering costs.
    #[arg(long, value_name = "AMOUNT")]
    pub engineer_week: Option<Range>,

    /// Share of wrong answers that somebody contacts support about.
    #[arg(long, value_name = "SHARE", requires = "contact_cost")]
    pub contact_share: Option<Share>,

    /// What one contact costs.
    #[arg(long, value_name = "AMOUNT", requires = "contact_share")]
    pub contact_cost: Option<Range>,

    /// Share of wrong answers that staff put right.
    #[arg(long, value_name = "SHARE", requires_all = ["review_minutes", "wage_per_hour"])]
    pub review_share: Option<Share>,

    /// Minutes for each of them.
    #[arg(long, value_name = "MINUTES", requires = "review_share")]
    pub review_minutes: Option<Range>,

    /// What an hour of theirs costs.
    #[arg(long, value_name = "AMOUNT", requires = "review_share")]
    pub wage_per_hour: Option<Range>,
}

impl Said {
    /// The scenario with what was said in place of what it states.
    fn over(&self, scenario: Scenario) -> Scenario {
        let mut answers = scenario.answers;
        let reply = |said: Option<bool>| said.map(|answer| Reply { answer, because: None });
        answers.private_or_current_data = reply(self.private_or_current_data).or(answers.private_or_current_data);
        answers.consistent_behaviour = reply(self.consistent_behaviour).or(answers.consistent_behaviour);
        answers.maintainable = reply(self.maintainable).or(answers.maintainable);
        let flags = [
            ("transactions_per_month", self.transactions_per_month.is_some()),
            ("labels", self.labels.is_some()),
            ("target", self.target.is_some()),
        ];
        Scenario {
            flags: flags.into_iter().filter_map(|(member, said)| said.then_some(member)).collect(),
            transactions_per_month: self.transactions_per_month.or(scenario.transactions_per_month),
            labels: self.labels.or(scenario.labels),
            target: self.target.or(scenario.target),
            horizon_months: self.horizon.or(scenario.horizon_months),
            machine_per_hour: self.machine_per_hour.or(scenario.machine_per_hour),
            engineer_week: self.engineer_week.or(scenario.engineer_week),
            errors: self.errors(scenario.errors),
            answers,
            ..scenario
        }
    }

    fn errors(&self, stated: Option<ErrorCosts>) -> Option<ErrorCosts> {
        if self.contact_share.is_none() && self.review_share.is_none() {
            return stated;
        }
        let stated = stated.unwrap_or_default();
        Some(ErrorCosts {
            contact_share: self.contact_share.unwrap_or(stated.contact_share),
            contact_cost: self.contact_cost.or(stated.contact_cost),
            review_share: self.review_share.unwrap_or(stated.review_share),
            review_minutes: self.review_minutes.or(stated.review_minutes),
            wage_per_hour: self.wage_per_hour.or(stated.wage_per_hour),
            source: Some("stated on the command line".to_owned()),
        })
    }
}

/// Runs `txcat advise`.
///
/// # Errors
/// When a file can't be read, the scenario contradicts itself, or the database fails.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let advice = advice(&options, settings).await?;
    if options.json {
        println!("{}", serde_json::to_string(&advice)?);
    } else if options.markdown {
        println!("{}", report::markdown(&advice));
    } else {
        println!("{}", report::text(&advice));
    }
    Ok(())
}

async fn advice(options: &Options, settings: &Settings) -> anyhow::Result<Advice> {
    let costs = match &options.costs {
        Some(path) => Costs::from_toml(&read(path)?).with_context(|| format!("{} is no cost table", path.display()))?,
        None => Costs::compiled_in()?,
    };
    let scenario = match &options.scenario {
        Some(path) => scenario(path)?,
        None => Scenario::default(),
    };
    let scenario = options.said.over(scenario);
    let known = if scenario.today.is_some() {
        Known::default()
    } else {
        known(options, settings, scenario.currency.unwrap_or(costs.currency)).await?
    };
    Ok(advise::advise(scenario, &known, &costs, clock::now().date_naive())?)
}

fn scenario(path: &Path) -> anyhow::Result<Scenario> {
    let text = read(path)?;
    let json = path.extension().is_some_and(|ending| ending == "json");
    let scenario = if json { Scenario::from_json(&text) } else { Scenario::from_toml(&text) };
    scenario.with_context(|| format!("{} is no scenario", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// What this deployment knows.
async fn known(options: &Options, settings: &Settings, currency: Currency) -> anyhow::Result<Known> {
    let stages = options.files.load()?;
    let entry = stages.entry(options.today.as_deref().unwrap_or(&stages.serve))?;
    let taxonomy = service::taxonomy(options.taxonomy.as_deref())?;
    let now = clock::now();
    let price = chat::entry(settings)?
        .filter(|(file, _)| file.budget.currency == currency.code())
        .and_then(|(_, entry)| token_price(Price::on(&entry.prices, now.date_naive())?));
    with_store(settings, async |store| {
        let engine = engine(options, settings, entry, &taxonomy, store).await?;
        let (serving, engine, taxonomy) = (entry.name.as_str(), engine.as_deref(), taxonomy.version());
        let looking = Looking { serving, engine, taxonomy, currency, price };
        Ok(Known::read(store, looking, now).await?)
    })
    .await
}

/// The engine of the stage that answers, as runs name it, but for what follows from labels; `None` of known keys and cascades,
/// which pull no lever.
async fn engine(
    options: &Options,
    settings: &Settings,
    entry: &StageEntry,
    taxonomy: &Taxonomy,
    store: &Store,
) -> anyhow::Result<Option<String>> {
    Ok(match (entry.engine, &options.adapter) {
        (Engine::Adapter, Some(dir)) => Some(AdapterFacts::engine(dir)?),
        (Engine::Adapter, None) => {
            let adapters = store.adapters(Some(taxonomy.version())).await?;
            let champion = adapters.into_iter().find(|of| of.is_champion_of(taxonomy.version(), EVERYONE));
            let demo = Path::new(DEMO_ADAPTER);
            match champion {
                Some(champion) => Some(champion.engine),
                None if !demo.exists() || AdapterFacts::read(demo)?.taxonomy != taxonomy.version() => None,
                None => Some(AdapterFacts::engine(demo)?),
            }
        }
        (Engine::Prompt, _) => Some(match chat::entry(settings)? {
            Some((_, model)) => format!("{PROMPT_ENGINE}{}:{}", model.name, options.files.prompt(entry)?.version()),
            None => format!("nearest:{}@", entry.name),
        }),
        (Engine::KnownKey | Engine::Cascade, _) => None,
    })
}

/// A chat model's price, as advice reckons with it.
fn token_price(price: &Price) -> Option<TokenPrice> {
    let exact = |amount| Range::new(amount, amount).ok();
    Some(TokenPrice {
        prompt: exact(price.prompt)?,
        cached: price.cached.and_then(exact),
        completion: exact(price.completion)?,
        batch: price.batch.and_then(|batch| batch.to_string().parse().ok()),
        premium: None,
    })
}
