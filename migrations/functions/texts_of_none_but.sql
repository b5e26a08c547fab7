-- The texts to which some sessions of a project refer, and no other session of it. Reads references alone, never a text.
CREATE FUNCTION session_chain.texts_of_none_but(p_project text, p_sessions bigint[]) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
  WITH session AS MATERIALIZED (
    SELECT s.id, s.id IN (SELECT unnest(p_sessions)) AS is_one FROM session_chain.sessions s WHERE s.project_id = p_project
  ), used AS NOT MATERIALIZED (
    SELECT s.is_one, u.id FROM session s JOIN session_chain.transcript_batches b ON b.session = s.id
    CROSS JOIN LATERAL (SELECT unnest(b.entry_ids) AS id UNION ALL SELECT b.patch_id WHERE b.patch_id IS NOT NULL) u
  )
  SELECT u.id FROM used u WHERE u.is_one
  EXCEPT
  SELECT u.id FROM used u WHERE NOT u.is_one
$$;
