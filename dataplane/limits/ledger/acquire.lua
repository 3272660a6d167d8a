-- Answers questions of one gate about leases: what lease.Authority does as plain Go.
-- KEYS: a hash for each window of each question. ARGV[1]: the channel on which holders are
-- called to give back; then of each question: holder, sequence, wanted, target, demand,
-- free (0|1), report (0|1), grace, number of windows; and of each window: start, end, limit,
-- own, held, exact (0|1), reclaim. Times are in microseconds.
-- Answers the time as {seconds, microseconds}, then of each question: status, grant and, when
-- the status is 0, of each window: left, others, near (0|1), retry, holders, demand.
-- A window's hash has g: charged, r: when holders were called, o: held by all, f: of that by
-- those heard of since r, d: demand of all, h: number of holders, c: when they were looked
-- through, e: that an operator set the count back, and n<holder>: "held demand heard sequence
-- grant own".
local SLACK, CENSUS, FORGET_DEMAND, FORGET_HOLDER = 2e6, 10e6, 10e6, 3600e6
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local channel = ARGV[1]
local answer = {tonumber(time[1]), tonumber(time[2])}

-- tostring and .. keep 14 digits only.
local function text(n) return string.format('%.0f', n) end

local function holder(value)
  local held, demand, heard, seq, grant, own =
    string.match(value, '^(%-?%d+) (%-?%d+) (%d+) (%d+) (%-?%d+) (%-?%d+)$')
  if not held then return nil end
  return {held = tonumber(held), demand = tonumber(demand), heard = tonumber(heard),
    seq = tonumber(seq), grant = tonumber(grant), own = tonumber(own)}
end

local function line(h)
  return text(h.held) .. ' ' .. text(h.demand) .. ' ' .. text(h.heard) .. ' ' ..
    text(h.seq) .. ' ' .. text(h.grant) .. ' ' .. text(h.own)
end

-- open reads a window, or returns nil when what is stored cannot be counted with.
local function open(key, name)
  local v = redis.pcall('HMGET', key, 'g', 'r', 'o', 'f', 'd', 'h', 'c', 'e', name)
  if v.err then return nil end
  local w = {key = key, new = not v[1]}
  local fields = {'g', 'r', 'o', 'f', 'd', 'h', 'c'}
  for i = 1, 7 do
    local n = tonumber(v[i] or '0')
    if not n then return nil end
    w[fields[i]] = n
  end
  if w.new then w.c = now end
  w.back = v[8]
  if v[9] then
    w.me = holder(v[9])
    if not w.me then return nil end
  else
    w.me = {held = 0, demand = 0, heard = 0, seq = 0, grant = 0, own = 0}
  end
  return w
end

-- look counts anew without those that went silent.
local function look(w, reclaim, except)
  w.c, w.o, w.f, w.d, w.h = now, 0, 0, 0, 0
  local all = redis.call('HGETALL', w.key)
  for i = 1, #all, 2 do
    local name = all[i]
    if string.sub(name, 1, 1) == 'n' then
      local h = name == except and w.me or holder(all[i + 1])
      local silent = h and now - h.heard or math.huge
      local gone, changed = not h, false
      if h and name ~= except then
        if reclaim > 0 and silent > reclaim and h.held ~= 0 then
          w.g, h.own, h.held, changed = w.g - h.held, h.own - h.held, 0, true
        end
        if silent > FORGET_DEMAND and h.demand ~= 0 then h.demand, changed = 0, true end
        gone = silent > FORGET_HOLDER
      end
      if gone then
        redis.call('HDEL', w.key, name)
      else
        w.o, w.d, w.h = w.o + h.held, w.d + h.demand, w.h + 1
        if w.r > 0 and h.heard > w.r then w.f = w.f + h.held end
        if changed then redis.call('HSET', w.key, name, line(h)) end
      end
    end
  end
end

local function allowed(w, q, m)
  local left = math.max(0, m.limit - w.g)
  if q.report then return 0 end
  if m.exact or w.r > 0 then return math.min(left, q.wanted) end
  if q.target < 1 and q.wanted < 1 then return 0 end
  local fair, free = math.floor(left * q.demand / (2 * w.d)), 0
  if q.free then free = math.floor(left / (32 * w.h)) end
  return math.min(left, math.max(q.wanted, math.min(q.target, fair), free))
end

local function charge(w, q, m, grant)
  local left = math.max(0, m.limit - w.g)
  if not q.report and q.wanted > left and w.r == 0 then
    w.r, w.f = now, 0
    if w.o - w.me.held > 0 then redis.pcall('PUBLISH', channel, w.key) end
  end
  local held = m.held + grant - math.min(grant, q.wanted)
  w.g, w.me.own, w.o = w.g + grant, w.me.own + grant, w.o + held - w.me.held
  if w.r > 0 then
    if w.me.heard > w.r then w.f = w.f - w.me.held end
    if now > w.r then w.f = w.f + held end
  end
  w.me.held, w.me.heard, w.me.grant, w.me.seq = held, now, grant, q.seq
  redis.call('HSET', w.key, 'g', text(w.g), 'r', text(w.r), 'o', text(w.o), 'f', text(w.f),
    'd', text(w.d), 'h', text(w.h), 'c', text(w.c), q.name, line(w.me))
  if w.new then
    local linger = math.min(m.finish - m.start, 60e6)
    redis.call('PEXPIREAT', w.key, text(math.floor((m.finish + linger + SLACK) / 1000)))
  end
  local others, retry = w.o - held, 0
  if w.r > 0 then
    retry = math.max(0, w.r + q.grace - now)
    if retry == 0 then others = w.f - held end
  end
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = math.max(0, m.limit - w.g), others, w.r > 0 and 1 or 0
  answer[n + 4], answer[n + 5], answer[n + 6] = retry, w.h, w.d
end

local function turn(status)
  local n = #answer
  answer[n + 1], answer[n + 2] = status, 0
end

local function serve(q, claims)
  for i = 1, #claims do
    if now < claims[i].start - SLACK or now >= claims[i].finish + SLACK then return turn(2) end
  end
  local windows, repeated = {}, nil
  for i = 1, #claims do
    local w = open(claims[i].key, q.name)
    if not w then return turn(3) end
    if w.me.seq > q.seq then return turn(1) end
    if w.me.seq == q.seq then repeated = w.me.grant end
    windows[i] = w
  end
  local grant = math.huge
  for i = 1, #claims do
    local w, m = windows[i], claims[i]
    -- What a holder used before the count was set back is forgiven, what it holds is not.
    if w.back and w.me.seq == 0 then w.me.own = math.max(0, m.own - m.held) end
    w.g, w.me.own = w.g + m.own - w.me.own, m.own
    local every = m.reclaim > 0 and m.reclaim / 2 or CENSUS
    if now - w.c >= every then look(w, m.reclaim, q.name) end
    w.g = math.max(0, w.g)
    w.d, w.me.demand = w.d + q.demand - w.me.demand, q.demand
    if w.me.seq == 0 then w.h = w.h + 1 end
    grant = math.min(grant, allowed(w, q, m))
  end
  grant = repeated or grant
  local n = #answer
  answer[n + 1], answer[n + 2] = 0, grant
  for i = 1, #claims do charge(windows[i], q, claims[i], grant) end
end

local at, key = 2, 1
while at <= #ARGV do
  local q = {name = 'n' .. ARGV[at], seq = tonumber(ARGV[at + 1]), wanted = tonumber(ARGV[at + 2]),
    target = tonumber(ARGV[at + 3]), demand = tonumber(ARGV[at + 4]), free = ARGV[at + 5] == '1',
    report = ARGV[at + 6] == '1', grace = tonumber(ARGV[at + 7])}
  local claims = {}
  local count = tonumber(ARGV[at + 8])
  at = at + 9
  for i = 1, count do
    claims[i] = {key = KEYS[key], start = tonumber(ARGV[at]), finish = tonumber(ARGV[at + 1]),
      limit = tonumber(ARGV[at + 2]), own = tonumber(ARGV[at + 3]), held = tonumber(ARGV[at + 4]),
      exact = ARGV[at + 5] == '1', reclaim = tonumber(ARGV[at + 6])}
    at, key = at + 7, key + 1
  end
  serve(q, claims)
end
return answer
