-- Brings transitions that a file of the archive holds back to session_transitions_archive: those of which this database has
-- nothing, and that lead to one that is here. p_rows are the lines of the file. Returns how many have no place here.
CREATE FUNCTION session_chain.restore_archived(p_project text, p_part uuid, p_rows jsonb) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_row session_chain.session_transitions_archive;
  v_here text;
  v_left integer := 0;
BEGIN
  -- The newest first: each leads to the one after it.
  FOR v_row IN
    SELECT n.* FROM jsonb_array_elements(p_rows) AS r,
      jsonb_populate_record(NULL::session_chain.session_transitions_archive, r || jsonb_build_object(
        'project_id', p_project, 'part', p_part, 'host', (r ->> 'host')::jsonb, 'archived_at', clock_timestamp())) AS n
    ORDER BY n.seq DESC
  LOOP
    SELECT t.new_session_id::text INTO v_here FROM session_chain.all_transitions(p_project) t WHERE t.seq = v_row.seq;
    IF FOUND THEN
      v_left := v_left + (v_here <> v_row.new_session_id)::integer;
    ELSIF EXISTS (SELECT FROM session_chain.all_transitions(p_project) t
        WHERE t.seq = v_row.seq + 1 AND t.old_session_id::text = v_row.new_session_id) THEN
      INSERT INTO session_chain.session_transitions_archive SELECT v_row.*;
    ELSE
      v_left := v_left + 1;
    END IF;
  END LOOP;
  RETURN v_left;
END
$$;
