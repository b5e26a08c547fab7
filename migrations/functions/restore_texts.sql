-- Stores texts of the archive, in their order, where the project does not have them: p_texts joined by U+0003, as in
-- append_entries.
CREATE FUNCTION session_chain.restore_texts(p_project text, p_digests bytea[], p_texts text) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO session_chain.transcript_texts (project_id, digest, content)
  SELECT p_project, u.digest, u.content
  FROM unnest(p_digests, string_to_array(p_texts, E'\x03')) WITH ORDINALITY AS u (digest, content, n)
  WHERE NOT EXISTS (
    SELECT FROM session_chain.transcript_texts t WHERE t.project_id = p_project AND t.digest = u.digest)
  ORDER BY u.n
  ON CONFLICT (project_id, digest) DO NOTHING
$$;
