-- Has this connection told from now on, by the channel session_chain_wait, when a step of these projects has ended or the
-- chain that holds one has closed; see tell_waiters. What it waited for before, it no longer does. Returns the group by
-- which each is told of, in the order of p_projects.
CREATE FUNCTION session_chain.wait_for(p_projects text[]) RETURNS integer[]
LANGUAGE plpgsql AS $$
DECLARE
  v_key integer := hashtext('session_chain waits');
  v_groups integer[] := ARRAY(
    SELECT hashtext(one.id) & 63 FROM unnest(p_projects) WITH ORDINALITY AS one (id, n) ORDER BY one.n);
  v_held integer[] := ARRAY(
    SELECT k.objid::integer FROM pg_locks k
    WHERE k.locktype = 'advisory' AND k.pid = pg_backend_pid() AND k.objsubid = 2 AND k.classid = v_key::oid
      AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));
BEGIN
  PERFORM pg_advisory_lock_shared(v_key, g.id) FROM (SELECT unnest(v_groups) AS id EXCEPT SELECT unnest(v_held)) g;
  PERFORM pg_advisory_unlock_shared(v_key, g.id) FROM (SELECT unnest(v_held) AS id EXCEPT SELECT unnest(v_groups)) g;
  RETURN v_groups;
END
$$;
