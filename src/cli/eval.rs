//! `inferno eval`: how often a model is right on held-out tasks, and how well it predicts held-out texts.
//!
//! models/eval/README.md describes the data and defines the measures.

use super::{
    args::{EvalArgs, GlobalArgs},
    failure::Failure,
    greedy,
    interrupt::Interrupt,
    load,
    output::{self, Waiting},
    runtime,
    settings::Settings,
};
use inferno::{LoadedModel, Message, Session, Tokenize, config::Overrides};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fs, path::Path, sync::Arc};

/// Tokens of an answer, at most.
const MAX_ANSWER: usize = 160;
/// Between the texts of heldout.txt.
const SEPARATOR: &str = "\n<|endoftext|>\n";
const ITEMS_FILE: &str = "heldout.jsonl";
const TEXTS_FILE: &str = "heldout.txt";

/// One line of heldout.jsonl.
#[derive(Debug, Deserialize)]
struct Item {
    task: String,
    messages: Vec<Message>,
    answer: String,
}

/// What is measured with.
struct Data {
    /// In the order of the file, by task.
    tasks: Vec<(String, Vec<Item>)>,
    texts: Vec<String>,
}

/// The rate of one task.
#[derive(Debug, Serialize)]
struct Rate {
    task: String,
    right: usize,
    items: usize,
}

impl Rate {
    fn percent(&self) -> f64 {
        100.0 * self.right as f64 / self.items as f64
    }
}

/// How well the texts are predicted.
#[derive(Debug, Default)]
struct Prediction {
    nats: f64,
    tokens: usize,
}

pub(crate) fn run(args: EvalArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let mut overrides = Overrides::default();
    args.model.set(&mut overrides);
    overrides.backend_config.threads = args.threads.threads;
    let settings = Settings::load(global, overrides)?;
    let limit = args.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let show = usize::try_from(args.show).unwrap_or(usize::MAX);
    let data = match &args.data {
        Some(directory) => Data::read(directory, limit)?,
        None => Data::builtin(limit)?,
    };

    runtime()?.block_on(async {
        let interrupt = Interrupt::listen();
        let model = load::load(&settings, &interrupt).await?.loaded()?;
        tokio::task::block_in_place(|| {
            let mut session = Session::new(&model, &settings.context_options())?;
            interrupt.stops(session.stop_handle());
            let mut waiting = Waiting::spinner("evaluating".into(), settings.quiet);
            let rates = rates(&data, &model, &mut session, show, &mut waiting)?;
            let prediction = prediction(&data, &model, &mut session, &mut waiting)?;
            waiting.clear();
            report(args.json, &model, &rates, &prediction)
        })
    })
}

impl Data {
    fn read(directory: &Path, limit: usize) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path)
                .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
        };
        Self::parse(&read(ITEMS_FILE)?, &read(TEXTS_FILE)?, limit)
    }

    #[cfg(feature = "builtin-model")]
    fn builtin(limit: usize) -> Result<Self, Failure> {
        Self::parse(
            include_str!("../../models/eval/heldout.jsonl"),
            include_str!("../../models/eval/heldout.txt"),
            limit,
        )
    }

    #[cfg(not(feature = "builtin-model"))]
    fn builtin(_limit: usize) -> Result<Self, Failure> {
        Err(Failure::usage("this build has no data of its own: name a directory with --data"))
    }

    fn parse(items: &str, texts: &str, limit: usize) -> Result<Self, Failure> {
        let mut tasks: Vec<(String, Vec<Item>)> = vec![];
        for (number, line) in (1..).zip(items.lines()) {
            let item: Item = serde_json::from_str(line)
                .map_err(|e| Failure::usage(format!("{ITEMS_FILE}:{number} is no item of a task: {e}")))?;
            let position = tasks.iter().position(|(task, _)| *task == item.task).unwrap_or_else(|| {
                tasks.push((item.task.clone(), vec![]));
                tasks.len() - 1
            });
            if tasks[position].1.len() < limit {
                tasks[position].1.push(item);
            }
        }
        let texts = texts.split(SEPARATOR).map(|text| text.trim_matches('\n').to_owned());
        Ok(Self { tasks, texts: texts.filter(|text| !text.is_empty()).take(limit).collect() })
    }
}

fn rates(
    data: &Data,
    model: &Arc<LoadedModel>,
    session: &mut Session,
    show: usize,
    waiting: &mut Waiting,
) -> Result<Vec<Rate>, Failure> {
    let template = model.chat_template()?;
    let mut rates = vec![];
    for (task, items) in &data.tasks {
        let (mut right, mut shown) = (0, 0);
        for (number, item) in (1..).zip(items) {
            waiting.says(format!("{task}, {number} of {}", items.len()));
            let text = template.render(&item.messages, true)?;
            let prompt = model.tokenize(&text, Tokenize { add_special: true, parse_special: true })?;
            let output = greedy::continuation(session, &prompt, MAX_ANSWER)?;
            let answer = model.detokenize(&output, false)?;
            if is_right(task, &answer, &item.answer) {
                right += 1;
            } else if shown < show {
                shown += 1;
                waiting.clear();
                output::note(&format!("{task}: {:?} is wanted, {answer:?} came", item.answer));
            }
        }
        rates.push(Rate { task: task.clone(), right, items: items.len() });
    }
    Ok(rates)
}

fn prediction(
    data: &Data,
    model: &Arc<LoadedModel>,
    session: &mut Session,
    waiting: &mut Waiting,
) -> Result<Prediction, Failure> {
    let mut sum = Prediction::default();
    for (number, text) in (1..).zip(&data.texts) {
        waiting.says(format!("texts, {number} of {}", data.texts.len()));
        let mut tokens = model.tokenize(text, Tokenize { add_special: true, parse_special: false })?;
        // the model is to see the end coming, too
        tokens.extend(model.eos());
        tokens.truncate(session.limit());
        if tokens.len() > 1 {
            sum.nats += greedy::surprise(session, &tokens)?;
            sum.tokens += tokens.len() - 1;
        }
    }
    Ok(sum)
}

/// Equal but for white space around; JSON is compared as a value.
fn is_right(task: &str, answer: &str, wanted: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    let call = |text: &str| {
        let body = text.trim().strip_prefix("<tool_call>")?;
        json(body.strip_suffix("</tool_call>").unwrap_or(body))
    };
    match task {
        "json" => json(answer).zip(json(wanted)).is_some_and(|(a, b)| is_same(&a, &b)),
        "tool_call" => call(answer).zip(call(wanted)).is_some_and(|(a, b)| is_same(&a, &b)),
        _ => answer.trim() == wanted.trim(),
    }
}

/// Whether two values are the same; 1 and 1.0 are.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn report(json: bool, model: &LoadedModel, rates: &[Rate], prediction: &Prediction) -> Result<(), Failure> {
    let perplexity = (prediction.tokens > 0).then(|| (prediction.nats / prediction.tokens as f64).exp());
    if json {
        return output::json(&serde_json::json!({
            "model": model.path(),
            "description": model.description(),
            "device": model.devices().join("+"),
            "tasks": rates,
            "perplexity": perplexity,
            "perplexity_tokens": prediction.tokens,
        }));
    }
    for rate in rates {
        output::line(&format!(
            "{:16} {:4} of {:4}  {:5.1} %",
            rate.task,
            rate.right,
            rate.items,
            rate.percent()
        ))?;
    }
    match perplexity {
        Some(perplexity) => {
            output::line(&format!("perplexity {perplexity:.4} over {} tokens", prediction.tokens))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_compared_as_a_value() {
        assert!(is_right("json", "{\"a\":1, \"b\":2}", "{\"b\": 2, \"a\": 1}\n"));
        assert!(is_right("json", "[1.0, {\"x\": 2}]", "[1, {\"x\": 2.0}]"));
        assert!(!is_right("json", "{\"a\": 1, \"b\": 2}", "{\"a\": 1}"));
        assert!(!is_right("json", "{\"a\": 1", "{\"a\": 1}"));
        let wanted = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
        assert!(is_right("tool_call", "<tool_call>{\"arguments\":{},\"name\":\"f\"}</tool_call>", wanted));
        assert!(!is_right("tool_call", "{\"name\": \"f\", \"arguments\": {}}", wanted));
        assert!(is_right("copy", " x ", "x"));
    }

    #[test]
    fn a_line_that_is_no_item_is_named() {
        let good = "{\"task\":\"t\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"answer\":\"a\"}";
        let data = Data::parse(&format!("{good}\n{good}\n"), "a\n<|endoftext|>\nb\n", 1).unwrap();
        assert_eq!((data.tasks[0].1.len(), data.texts), (1, vec!["a".to_owned()]));
        let error = Data::parse(&format!("{good}\nx\n"), "", 1).err().unwrap().message();
        assert!(error.contains("heldout.jsonl:2"), "{error}");
    }
}
