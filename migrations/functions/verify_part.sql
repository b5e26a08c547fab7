-- Notes that a file of the archive was read back and is what was written. May be repeated with the same file. Returns
--   verified   what it holds may be dropped from here in time
--   differs    it lacks something that was chosen for it, or holds more: it is written anew
--   absent     there is no such file to be written any more
CREATE FUNCTION session_chain.verify_part(p_part uuid, p_bytes bigint, p_sha256 text, p_counts jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_part session_chain.archive_parts;
BEGIN
  SELECT * INTO v_part FROM session_chain.archive_parts p WHERE p.id = p_part FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 'absent';
  ELSIF v_part.state = 'verified' THEN
    RETURN CASE WHEN v_part.sha256 = p_sha256 THEN 'verified' ELSE 'differs' END;
  ELSIF p_counts - 'text' <> session_chain.part_lines(p_part) THEN
    RETURN 'differs';
  END IF;
  UPDATE session_chain.archive_parts p SET state = 'verified', verified_at = clock_timestamp(), written_until = NULL,
      bytes = p_bytes, sha256 = p_sha256, counts = p_counts
    WHERE p.id = p_part;
  RETURN 'verified';
END
$$;
