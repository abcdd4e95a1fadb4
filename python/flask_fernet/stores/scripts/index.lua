-- Puts a session into the index of its user, which stays until the last session in it expires.
-- KEYS[1] the index  ARGV[1] when the session expires, in milliseconds  ARGV[2] its address
-- ARGV[3] now, in milliseconds
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', KEYS[1], last[2]) end
return 1
