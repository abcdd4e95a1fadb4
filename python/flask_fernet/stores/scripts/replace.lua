-- Replaces a record, if it still has the version that was read.
-- KEYS[1] the record  ARGV[1] the version read  ARGV[2] the new record
-- ARGV[3] milliseconds until it expires, or '' to leave that as it is
local version = redis.call('GETRANGE', KEYS[1], 13, 36)
if version == ARGV[1] then
  if ARGV[3] == '' then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
  else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  end
  return 1
end
if version == '' then return 0 end
-- This is the second attempt, and the first one came through.
if version == string.sub(ARGV[2], 14, 37) then return 1 end
return redis.call('GET', KEYS[1])
