-- How many lines a file of the archive has to have, by kind; `text` is left out, which only its writer counts.
CREATE FUNCTION session_chain.part_lines(p_part uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'session', (SELECT count(*) FROM session_chain.sessions s WHERE s.archive_part = p_part),
    'append', (SELECT count(*) FROM session_chain.sessions s JOIN session_chain.transcript_batches b ON b.session = s.id
      WHERE s.archive_part = p_part),
    'transition', (SELECT count(*) FROM session_chain.session_transitions_archive a WHERE a.part = p_part),
    'attempt', (SELECT count(*) FROM session_chain.attempts a WHERE a.archive_part = p_part),
    'metrics', (SELECT count(*) FROM session_chain.attempts a JOIN project_ai_session_metrics m ON m.attempt_id = a.id
      WHERE a.archive_part = p_part),
    'brief', (SELECT count(*) FROM session_chain.briefs b WHERE b.archive_part = p_part))
$$;
