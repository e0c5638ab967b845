//! The cloud tasks. `cargo xtask` builds and runs this.

use std::process::ExitCode;

use clap::FromArgMatches;
use deploy::text::Text;
use deploy::{screen, view};

fn main() -> ExitCode {
    if let Some(code) = deploy::child::step() {
        return code;
    }
    deploy::child::enable_guard();
    // A panic may be about what somebody else wrote.
    std::panic::set_hook(Box::new(|panic| {
        let mut text = Text::new();
        text.paragraph(format_args!("error: this program has a defect: {panic}"));
        screen::cry(&text);
    }));
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
            view::tell(&Text::of(format_args!("error: cannot start: {error}")));
            ExitCode::FAILURE
        }
    }
}
