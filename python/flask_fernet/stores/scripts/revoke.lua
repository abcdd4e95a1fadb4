-- Notes a revocation at the server's time, and returns that time in seconds.
-- KEYS[1] the revocations  ARGV[1] the subject  ARGV[2] seconds for which a revocation is kept
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local left = redis.call('TTL', KEYS[1])
if left < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return now
