-- Charges n to every window of one identifier, or to none.
--
-- KEYS: one counter for each window; all carry the same hash tag, so that a cluster keeps
--       them on one node.
-- ARGV: n, then for each window: limit, start and end of the window (Unix seconds).
-- Returns: granted (1, 0, or -1 when the server's clock is outside of a window), the server's
--       time (seconds, microseconds), then what each window holds, without this charge.
local now = redis.call('TIME')
local seconds = tonumber(now[1])
local n = tonumber(ARGV[1])
local used, granted = {}, 1
for i, key in ipairs(KEYS) do
	local limit, from, to = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
	if seconds < from or seconds >= to then
		return {-1, now[1], now[2]}
	end
	used[i] = tonumber(redis.call('GET', key) or '0')
	if used[i] + n > limit then
		granted = 0
	end
end
if granted == 1 and n > 0 then
	for i, key in ipairs(KEYS) do
		if redis.call('INCRBY', key, n) == n then
			-- One window longer than the window: a clock that is behind finds its counts.
			redis.call('EXPIREAT', key, 2 * tonumber(ARGV[3 * i + 1]) - tonumber(ARGV[3 * i]))
		end
	end
end
local answer = {granted, now[1], now[2]}
for i = 1, #used do
	answer[i + 3] = used[i]
end
return answer
