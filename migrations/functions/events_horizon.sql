-- The id below which no event can become visible any more, for readers over all projects: they read events with a lower
-- id, in a statement that begins after this one. It lies before the oldest transaction that runs and has written events
-- (see write_event); a transaction that has written none holds nothing up. The order of the looks matters: a transaction
-- that shows no lock at the second draws its ids after the first. Only the primary knows these locks.
CREATE FUNCTION session_chain.events_horizon() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_last bigint;
  v_back bigint;
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE read_only_sql_transaction USING MESSAGE = 'events over all projects can be read from the primary only';
  END IF;
  SELECT s.last_value - (NOT s.is_called)::integer INTO v_last FROM session_chain.events_id_seq s;
  -- How far back each lies; what began after the first look lies ahead, which is nearly 2^31 back.
  SELECT max(l.back) INTO v_back FROM (
    SELECT (v_last % 2147483648 - k.objid::bigint + 2147483648) % 2147483648 AS back FROM pg_locks k
    WHERE k.locktype = 'advisory' AND k.objsubid = 2 AND k.classid = hashtext('session_chain events')::oid
      AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) l
    WHERE l.back < 1073741824;
  RETURN (v_last - coalesce(v_back, 0) + 1) * 1048576;
END
$$;
