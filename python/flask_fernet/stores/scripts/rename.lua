-- The same for a large record, which was put beside the one that it replaces: arguments are copied.
-- KEYS[1] the record  KEYS[2] the new one  ARGV[1] the version read  ARGV[2] the new version
-- ARGV[3] milliseconds until it expires, or '' to leave that as it is
local version = redis.call('GETRANGE', KEYS[1], 13, 36)
if version == ARGV[1] then
  local left = ARGV[3] == '' and redis.call('PTTL', KEYS[1]) or tonumber(ARGV[3])
  redis.call('RENAME', KEYS[2], KEYS[1])
  if left < 0 then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], left) end
  return 1
end
redis.call('UNLINK', KEYS[2])
if version == '' then return 0 end
if version == ARGV[2] then return 1 end
return redis.call('GET', KEYS[1])
