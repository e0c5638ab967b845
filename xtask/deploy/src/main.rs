//! The cloud tasks. `cargo xtask` builds and runs this.

use std::process::ExitCode;

use clap::FromArgMatches;

fn main() -> ExitCode {
    if let Some(code) = deploy::child::step() {
        return code;
    }
    deploy::child::enable_guard();
    deploy::descriptor::raise_limit();
    let matches = deploy::program::command().get_matches();
    let cli = match xtask::Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Unoptimised, the SDK's calls nest too deep for the usual 2 MiB.
        .thread_stack_size(8 << 20)
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(deploy::run(&cli));
            // A blocking task (pip) must not keep a program that was told to stop.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
