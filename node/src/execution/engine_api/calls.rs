//! What is counted of calls.

use std::{future::Future, time::Instant};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::error::EngineApiError;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

/// Counts calls and measures their time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallObserver {
    calls: Family<Outcome, Counter>,
    time: Family<Method, Histogram, fn() -> Histogram>,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 18))
}

impl Default for CallObserver {
    /// One that nobody reads.
    fn default() -> Self {
        Self { calls: Family::default(), time: Family::new_with_constructor(seconds) }
    }
}

impl CallObserver {
    /// Creates and registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let observer = Self::default();
        registry.register("lapis_engine_calls", "Calls of the execution client by outcome", observer.calls.clone());
        let help = "Time of one call of the execution client, retries included";
        registry.register_with_unit("lapis_engine_call_time", help, Unit::Seconds, observer.time.clone());
        observer
    }

    /// Waits for a call.
    pub(super) async fn observe<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, EngineApiError>>,
    ) -> Result<T, EngineApiError> {
        let started = Instant::now();
        let result = call.await;
        let outcome = result.as_ref().map_or_else(EngineApiError::outcome, |_| "answered");
        self.calls.get_or_create(&Outcome { method, outcome }).inc();
        self.time.get_or_create(&Method { method }).observe(started.elapsed().as_secs_f64());
        result
    }
}
