rockspec_format = "3.0"
package = "martlet-mqtt"
version = "0.1.0-1"
-- It is built where it lies: `luarocks make` in this folder.
source = {
   url = "file://.",
}
description = {
   summary = "MQTT for Lua 5.3 with the API of LuatOS modules",
   detailed = [[
      The `mqtt` library of LuatOS modules on a PC: the same functions, options and events, with its scheduler `sys`
      and `log`. MQTT 3.1.1 and 5, TLS, WebSocket, and a store that survives the end of the process.
   ]],
   license = "Apache-2.0",
}
dependencies = {
   "lua >= 5.3, < 5.4",
}
build = {
   type = "command",
   build_command = "cargo build --release --locked",
   install_command = "cp target/release/libmqtt.so '$(LIBDIR)/mqtt.so'",
}
