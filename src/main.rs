//! The `txcat` binary: parse, telemetry, dispatch.

use std::process::ExitCode;

use txcat::{
    causes::with_causes,
    cli::{self, Cli},
    telemetry,
};

/// Batches of activations come and go: the system's allocator gives their pages back and fetches them again each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whoever reads what is printed may stop reading, as `head` does: that ends the program, and is nothing to tell of.
fn end_quietly_where_nobody_reads() {
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let says = panic.payload().downcast_ref::<String>();
        if !says.is_some_and(|says| says.starts_with("failed printing to stdout: Broken pipe")) {
            otherwise(panic);
        }
    }));
}

fn main() -> ExitCode {
    end_quietly_where_nobody_reads();
    let cli = Cli::read();
    let telemetry = match telemetry::start() {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("txcat: {}", with_causes(&error));
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("txcat: can't start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(cli::run(cli));
    telemetry.end();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("txcat: {error:#}");
            ExitCode::FAILURE
        }
    }
}
