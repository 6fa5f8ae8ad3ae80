//! The module for plain Lua 5.3, in Debian's `lua5.3`.

use std::path::Path;
use std::process::Command;

use martlet_interop::{Broker, Folder, run, target, text};

#[test]
fn a_message_there_and_back() {
    let built = target().join("bindings-lua/release/libmqtt.so");
    assert!(
        built.is_file(),
        "there is no {}: run `cargo xtask interop`, which builds it",
        built.display()
    );
    let folder = Folder::new("lua-module");
    std::os::unix::fs::symlink(&built, folder.path().join("mqtt.so"))
        .expect("the test's folder can be written to");
    let broker = Broker::start("lua-module");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua/module.lua");
    let mut command = Command::new("lua5.3");
    command
        .env("LUA_CPATH", folder.path().join("?.so"))
        .arg(script)
        .arg(broker.port().to_string());
    let output = run(&mut command);
    assert!(
        output.status.success() && text(&output.stdout).ends_with("good\n"),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}
