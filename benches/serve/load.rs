//! What is asked, and when: lengths, prompts, the closed and the open loop.

use crate::client::{self, Address, Answer, Question};
use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinSet;

/// How lengths in tokens are distributed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lengths {
    Fixed(usize),
    Uniform(Range),
    /// Of a median and the deviation of the logarithm, cut at the most.
    LogNormal {
        median: f64,
        sigma: f64,
        most: usize,
    },
}

/// From the first to just below the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range(usize, usize);

/// How hard a server is driven.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Point {
    /// So many clients, each with its next request as soon as the last one is answered.
    Clients(usize),
    /// So many requests a second.
    Rate(f64),
}

/// The requests of one round.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) prompt: Lengths,
    pub(crate) output: Lengths,
    /// Tokens that all prompts begin with.
    pub(crate) prefix: usize,
    pub(crate) tokens: Range,
    pub(crate) prefix_seed: u64,
    pub(crate) seed: u64,
}

/// Who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: Address,
    /// The model's name in the requests.
    pub(crate) model: String,
    /// After which a request has failed.
    pub(crate) timeout: Duration,
}

impl Server {
    async fn ask(&self, question: &Question) -> Result<Answer, String> {
        match tokio::time::timeout(self.timeout, client::ask(&self.address, &self.model, question)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no end within {} s", self.timeout.as_secs())),
        }
    }
}

impl Load {
    /// Sends the requests, and waits until each was answered or has failed.
    pub(crate) async fn run(&self, point: Point, server: &Server) -> Vec<Result<Answer, String>> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let questions = self.questions(&mut random);
        let mut running = JoinSet::new();
        match point {
            Point::Clients(clients) => {
                let queue = Arc::new(Mutex::new(questions.into_iter()));
                for _ in 0..clients {
                    let (queue, server) = (Arc::clone(&queue), server.clone());
                    running.spawn(async move {
                        let mut answers = vec![];
                        while let Some(question) = next(&queue) {
                            answers.push(server.ask(&question).await);
                        }
                        answers
                    });
                }
            }
            Point::Rate(rate) => {
                for question in questions {
                    let server = server.clone();
                    running.spawn(async move { vec![server.ask(&question).await] });
                    // arrivals that know nothing of each other: exponential gaps of mean 1/rate
                    let gap = -(1.0 - random.f64()).ln() / rate;
                    tokio::time::sleep(Duration::from_secs_f64(gap)).await;
                }
            }
        }
        running.join_all().await.into_iter().flatten().collect()
    }

    fn questions(&self, random: &mut fastrand::Rng) -> Vec<Question> {
        let mut of_prefix = fastrand::Rng::with_seed(self.prefix_seed);
        let prefix = self.tokens.draw_many(self.prefix, &mut of_prefix);
        let mut question = || {
            let own = self.tokens.draw_many(self.prompt.draw(random), random);
            Question { prompt: [prefix.as_slice(), &own].concat(), output: self.output.draw(random) }
        };
        (0..self.requests).map(|_| question()).collect()
    }
}

fn next(queue: &Mutex<std::vec::IntoIter<Question>>) -> Option<Question> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

impl Range {
    fn draw(self, random: &mut fastrand::Rng) -> usize {
        random.usize(self.0..self.1)
    }

    fn draw_many(self, n: usize, random: &mut fastrand::Rng) -> Vec<u32> {
        (0..n).map(|_| u32::try_from(self.draw(random)).expect("a token id")).collect()
    }
}

impl Lengths {
    fn draw(self, random: &mut fastrand::Rng) -> usize {
        match self {
            Lengths::Fixed(n) => n,
            Lengths::Uniform(range) => range.draw(random),
            Lengths::LogNormal { median, sigma, most } => {
                // Box and Muller's transform of two uniform numbers into a normal one
                let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * random.f64()).cos();
                let length = (median * (sigma * normal).exp()).round().clamp(1.0, most as f64);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped just before"
                )]
                let length = length as usize;
                length
            }
        }
    }
}

impl Point {
    pub(crate) fn clients(self) -> Option<usize> {
        match self {
            Point::Clients(clients) => Some(clients),
            Point::Rate(_) => None,
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Clients(clients) => write!(f, "{clients} clients"),
            Point::Rate(rate) => write!(f, "{rate}/s"),
        }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bounds = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match bounds {
            Some((first, end)) if first < end && end <= i32::MAX as usize => Ok(Self(first, end)),
            _ => Err(format!("{text}: expected A..B with A below B")),
        }
    }
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: expected fixed:N, uniform:A..B or lognormal:MEDIAN,SIGMA,MOST");
        let (kind, numbers) = text.split_once(':').ok_or_else(wrong)?;
        let parts: Vec<&str> = numbers.split(',').collect();
        match (kind, parts.as_slice()) {
            ("fixed", [n]) => n.parse().map(Lengths::Fixed).map_err(|_| wrong()),
            ("uniform", [range]) => range.parse().map(Lengths::Uniform),
            ("lognormal", [median, sigma, most]) => Ok(Lengths::LogNormal {
                median: median.parse().map_err(|_| wrong())?,
                sigma: sigma.parse().map_err(|_| wrong())?,
                most: most.parse().map_err(|_| wrong())?,
            }),
            _ => Err(wrong()),
        }
    }
}
