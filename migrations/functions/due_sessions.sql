-- The sessions of a project whose transcripts are to be archived: those that nothing needs, see needed_sessions, and that no
-- file of the archive holds. One that is quarantined stays, for a person to look at. `at` is when its last entry was
-- stored, by which it belongs to a month.
CREATE FUNCTION session_chain.due_sessions(p_project text, p_days integer)
RETURNS TABLE (id bigint, session_id text, at timestamptz, bytes bigint)
LANGUAGE sql STABLE AS $$
  SELECT s.id, s.session_id, coalesce(s.appended_at, s.created_at), s.appended_bytes FROM session_chain.sessions s
  WHERE s.project_id = p_project AND s.archive_part IS NULL AND s.quarantined_at IS NULL
    AND s.created_at < clock_timestamp() - make_interval(days => p_days)
    AND EXISTS (SELECT FROM session_chain.transcript_batches b WHERE b.session = s.id)
    AND s.session_id NOT IN (SELECT n.session_id FROM session_chain.needed_sessions(p_project, p_days) n)
$$;
