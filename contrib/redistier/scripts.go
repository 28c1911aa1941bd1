package redistier

import "github.com/redis/rueidis"

// All scripts have the era and the log as their first keys and begin with this. It makes
// a new era if the memory has been lost: then no lease and no value of the old one is
// good any more, and the log begins with the revocation of everything.
//
// A position is twice the server's time in microseconds, forced to grow: leases are
// even, entries of the log odd. Twice the microseconds are exact in a float64 until 2112.
// Positions go on from the server's time and not from zero, since a lease of a former
// memory must never be one of this.
const opening = `
local era, log = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = 2 * (clock[1] * 1000000 + clock[2])
local function text(n) return string.format('%.0f', n) end
local function lease_at(n) n = math.max(now, n); return n + n % 2 end
local function entry_at(n) n = math.max(now, n) + 1; return n + (n + 1) % 2 end
local m = redis.call('HMGET', era, 'e', 'n', 'r')
local e, n, run = m[1], tonumber(m[2] or '0'), m[3]
local function reset()
	redis.call('DEL', log)
	n = entry_at(n)
	e = text(n)
	run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
	redis.call('DEL', era)
	redis.call('HSET', era, 'e', e, 'n', e, 'r', run, 't', e)
	redis.call('XADD', log, e .. '-0', 'a', '1')
end
if not e or redis.call('EXISTS', log) == 0 then reset() end
`

// getScript: KEYS era, log, value, lease; ARGV the life of a lease. Without memory for a
// lease there is none, but what is there is found. Any other error is one, such as that the
// user may not write.
var getScript = rueidis.NewLuaScript(opening + `
local lease = redis.call('GET', KEYS[4])
if lease and string.sub(lease, 1, #e + 1) == e .. ':' then
	lease = string.sub(lease, #e + 2)
else
	lease = text(lease_at(n))
	local kept = redis.pcall('SET', KEYS[4], e .. ':' .. lease, 'PX', ARGV[1])
	if kept.err and not string.find(kept.err, 'OOM', 1, true) then return kept end
	if kept.err then lease = '0' elseif lease ~= text(n) then redis.pcall('HSET', era, 'n', lease) end
end
local value = redis.call('GET', KEYS[3])
if value and string.sub(value, 1, #e + 1) == e .. ':' then
	return {lease, redis.call('PTTL', KEYS[3]), string.sub(value, #e + 2)}
end
return {lease, 0, false}
`)

// putScript: KEYS era, log, value, lease; ARGV lease, sealed, left, the position after
// which this is too late. A server that has stood still carries out what is seconds old.
var putScript = rueidis.NewLuaScript(opening + `
if redis.call('GET', KEYS[4]) ~= e .. ':' .. ARGV[1] then return 0 end
if tonumber(ARGV[4]) > 0 and now > tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[3], e .. ':' .. ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[4])
return 1
`)

// revokeScript: KEYS era, log, values and leases; ARGV how long the log is kept, keys,
// tags, all, how many entries are kept. Revoking everything is a new era. It is carried out
// although memory is short. Of a log that is too long half is dropped, and its era knows
// from where on the rest is complete.
var revokeScript = rueidis.NewLuaScript("#!lua flags=allow-oom" + opening + `
if ARGV[4] == '1' then reset() return 1 end
for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
local at = entry_at(n)
redis.call('HSET', era, 'n', text(at))
redis.call('XADD', log, 'MINID', '~', text(math.max(0, at - tonumber(ARGV[1]))), text(at) .. '-0', 'k', ARGV[2], 't', ARGV[3])
if redis.call('XLEN', log) > tonumber(ARGV[5]) then
	redis.call('XTRIM', log, 'MAXLEN', math.floor(ARGV[5] / 2))
	redis.call('HSET', era, 't', string.match(redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1][1], '%d+'))
end
return 1
`)

// beatScript: KEYS era, log. It returns the era, the last entry of the log, now, and the
// position from which on no entry has been dropped because there were too many. Where
// the process of the server is another one than before, entries may be lost. Redis does not
// run a script with flags while min-replicas-to-write does not hold, so there is no beat then.
const beatScript = "#!lua flags=allow-oom" + opening + `
if run ~= string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') then reset() end
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
return {e, string.match(last[1][1], '%d+'), text(math.max(now, n)), redis.call('HGET', era, 't')}
`

// replicasScript: KEYS the replicas; ARGV a name, for how many milliseconds it is alive,
// whether it stays. It returns how many are.
var replicasScript = rueidis.NewLuaScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[3] == '1' then
	redis.call('ZADD', KEYS[1], now, ARGV[1])
	redis.call('PEXPIRE', KEYS[1], 10 * ARGV[2])
else
	redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return redis.call('ZCARD', KEYS[1])
`)
