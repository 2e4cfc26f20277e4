-- The scripts run inside Redis: Lua 5.1, with these globals.
std = "lua51"
read_globals = { "redis", "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "struct" }
-- What is pasted into several scripts is not all used by each of them (211), and has names of its own (431).
ignore = { "211", "431" }
