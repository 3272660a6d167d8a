-- Answers questions of one gate about slots: what lease.SlotAuthority does as plain Go.
-- KEYS: a hash for each question. ARGV: of each question: holder, sequence, running, wanted, limit.
-- Answers the time as {seconds, microseconds}, then of each question: status, slots of the gate,
-- slots of nobody. A hash has for each holder: "taken sequence heard".
local LIFE = 3e6
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {tonumber(time[1]), tonumber(time[2])}

-- tostring and .. keep 14 digits only.
local function text(n) return string.format('%.0f', n) end

local function tell(status, have, left)
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = status, have, left
end

local function serve(key, name, seq, running, want, limit)
  local all = redis.pcall('HGETALL', key)
  if all.err then return tell(3, 0, 0) end
  local others = 0
  for i = 1, #all, 2 do
    local taken, last, heard = string.match(all[i + 1], '^(%d+) (%d+) (%d+)$')
    if not taken then return tell(3, 0, 0) end
    if all[i] == name then
      if tonumber(last) > seq then return tell(1, 0, 0) end
    elseif now - tonumber(heard) > LIFE then
      redis.call('HDEL', key, all[i])
    else
      others = others + tonumber(taken)
    end
  end
  local have = math.max(0, math.min(want, limit - others))
  local taken = math.max(have, running)
  redis.call('HSET', key, name, text(taken) .. ' ' .. text(seq) .. ' ' .. text(now))
  redis.call('PEXPIRE', key, 4 * LIFE / 1000)
  tell(0, have, math.max(0, limit - others - taken))
end

for i = 1, #KEYS do
  local at = 5 * (i - 1)
  serve(KEYS[i], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]))
end
return answer
