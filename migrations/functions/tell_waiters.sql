-- Wakes who waits for a project, for the triggers alone: only where somebody waits (wait_for), because commits that notify
-- follow one another, those of all databases of the server. Who waits holds a lock on the group of the project, one of 64,
-- so that many waiters take few locks; a lock that cannot be had is that of a waiter, or for an instant of another commit.
-- A hint, which may be lost: who waits looks from time to time as well. It names the group, which says nothing to others
-- that listen.
CREATE FUNCTION session_chain.tell_waiters(p_project text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_key integer := hashtext('session_chain waits');
  v_group integer := hashtext(p_project) & 63;
BEGIN
  -- In one expression, which nothing interrupts: the lock would outlive the transaction.
  IF NOT (pg_try_advisory_lock(v_key, v_group) AND pg_advisory_unlock(v_key, v_group)) THEN
    PERFORM pg_notify('session_chain_wait', v_group::text);
  END IF;
END
$$;
