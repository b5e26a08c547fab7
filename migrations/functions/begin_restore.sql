-- Begins to bring something of a project back in this transaction: retention and another restoration of the project wait
-- until it ends, and so does what drops texts, because restored appends refer to texts that are here. SC004 says that the
-- project is being erased; a request to erase it waits as well.
CREATE FUNCTION session_chain.begin_restore(p_project text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('session_chain retention ' || p_project, 0));
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('session_chain erase ' || p_project, 0));
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('session_chain texts ' || p_project, 0));
  IF EXISTS (SELECT FROM session_chain.erasures e WHERE e.project_id = p_project AND e.finished_at IS NULL) THEN
    RAISE EXCEPTION 'the project % is being erased', p_project USING ERRCODE = 'SC004';
  END IF;
END
$$;
