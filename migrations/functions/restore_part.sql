-- Notes a file of the archive from which something is restored. False where this database did not know it: another one made
-- it, or this one before it went back.
CREATE FUNCTION session_chain.restore_part(
  p_project text, p_part uuid, p_month date, p_location text, p_object text, p_bytes bigint, p_sha256 text, p_counts jsonb)
RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO session_chain.archive_parts (id, project_id, month, location, object, state, verified_at, bytes, sha256, counts)
  VALUES (p_part, p_project, p_month, p_location, p_object, 'verified', clock_timestamp(), p_bytes, p_sha256, p_counts)
  ON CONFLICT (id) DO NOTHING;
  RETURN NOT FOUND;
END
$$;
