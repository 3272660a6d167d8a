-- Sets windows of one identifier back, so that nothing counts as used, and tells gates of it.
-- Deleting them would not do: gates claim again what they used of a window that is lost.
-- KEYS: their hashes. ARGV: the channel of gates, the word that comes before a hash's name there,
-- and the order: what one order has set back, it does not set back again.
-- Answers how many there were.
local time = redis.call('TIME')
local n = 0
for i = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left > 0 then
    n = n + 1
    if redis.call('HGET', KEYS[i], 'e') ~= ARGV[3] then
      redis.call('DEL', KEYS[i])
      redis.call('HSET', KEYS[i], 'g', '0', 'e', ARGV[3], 'c', string.format('%.0f', time[1] * 1000000 + time[2]))
      redis.call('PEXPIRE', KEYS[i], left)
      redis.pcall('PUBLISH', ARGV[1], ARGV[2] .. KEYS[i])
    end
  end
end
return n
