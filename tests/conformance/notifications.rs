//! Timed scenarios, the API and amtool, against the built binary with the recorded Alertmanager configurations as they are.

use std::path::Path;

use super::replay_script::{PYTHON, run, shell_script};
use super::report::AreaReport;

/// How many cases fail. May only go down.
pub const KNOWN_FAILURES: usize = 0;

/// The cases under `folder`, all of them.
pub fn replay(folder: &Path) -> AreaReport {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = shell_script(
        dir.path(),
        "server.sh",
        &format!(
            "printf 'alertmanager_file: %s\\nself_scrape: false\\nhost: {{enabled: false}}\\n' \"$1\" > \"$1.campanile.yml\"\n\
             exec {} serve --config.file=\"$1.campanile.yml\" --storage.path=\"$2\" --web.listen-address=127.0.0.1:\"$3\"\n",
            env!("CARGO_BIN_EXE_campanile")
        ),
    );
    // amtool gets the server's root; the API has a place of its own below it.
    let amtool = shell_script(
        dir.path(),
        "amtool.sh",
        "#!/bin/bash\nargs=()\nfor a in \"$@\"; do\n  case \"$a\" in --alertmanager.url=*) a=\"$a/alertmanager\";; esac\n  args+=(\"$a\")\ndone\nexec amtool \"${args[@]}\"\n",
    );
    make_executable(&amtool);
    let command = format!("sh {} {{config}} {{data}} {{port}}", server.display());
    let amtool = amtool.display().to_string();
    run(PYTHON, folder, &["--command", &command, "--api-path", "/alertmanager/api/v2", "--amtool", &amtool])
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("the script can be made executable");
}
