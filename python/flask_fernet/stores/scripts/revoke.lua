-- Notes a revocation, and returns its time in seconds: that of the later clock, and later than any
-- former revocation of the same subject.
-- KEYS[1] the revocations  ARGV[1] the subject  ARGV[2] seconds for which a revocation is kept
-- ARGV[3] now by the caller's clock
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
now = math.max(now, tonumber(ARGV[3]))
local former = redis.call('ZSCORE', KEYS[1], ARGV[1])
if former then now = math.max(now, tonumber(former) + 1) end
redis.call('ZADD', KEYS[1], now, ARGV[1])
local left = redis.call('TTL', KEYS[1])
if left < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return now
