local helper = require "helper"
local other = require "nowhere_to_be_found"
-- http.get is only a comment here
log.info("lcd.init is only a text here")
local lcd = { init = function() end }
lcd.init()
http.request("GET", "http://example.com").wait()
mqtt.create(nil, "127.0.0.1", 1883):close()
fskv.init()
_G.sysplus = require("sysplus")
sysplus.taskInitEx(print, "name")
sysplus.nothing_like_it()
local function elsewhere()
    local http = {}
    http.get()
end
http.get("http://example.com")
