-- Whether a folder that a worker sees at p_path is the project's: by p_marker, found in it (null: none), or by
-- p_identity, which identifies the folder on the machine that last saw it. In a chain (p_chain) a project without a
-- folder is bound to this one, and a folder that was moved together with its marker stays bound; `fenced` refuses a
-- chain that does not hold the project. Outside a chain nothing is bound, and another project's folder is refused as
-- well. p_requested is the path that was asked for, before links were resolved: a path other than the one that the
-- project is bound to means another folder, and the project is bound to that one. `bound` returns the marker that
-- belongs in the folder. `unbound`: the project has no folder yet, or another one was asked for. `other_folder`: the
-- project has another folder, given by other_*. `taken`: the folder belongs to another project, is inside or around
-- that project's folder, or carries its marker. A project whose row was deleted gives up its folder once no agent of it
-- can be alive.
CREATE FUNCTION session_chain.bind_workspace(
  p_project text, p_chain bigint, p_ticket bigint, p_requested text, p_path text, p_marker uuid, p_identity text,
  p_worker text)
RETURNS TABLE (outcome text, marker uuid, other_project text, other_path text, other_worker text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_below session_chain.paths := session_chain.paths(rtrim(p_path, '/') || '/', rtrim(p_path, '/') || '0');
  v_own session_chain.workspaces;
  v_other session_chain.workspaces;
BEGIN
  SELECT * INTO v_own FROM session_chain.workspaces w WHERE w.project_id = p_project;
  IF v_own.requested <> p_requested AND v_own.marker IS DISTINCT FROM p_marker THEN
    v_own := NULL;
  ELSIF v_own.identity <> p_identity AND v_own.marker IS DISTINCT FROM p_marker THEN
    RETURN QUERY SELECT 'other_folder', NULL::uuid, p_project, v_own.path, v_own.worker;
    RETURN;
  END IF;
  IF v_own.path = p_path AND v_own.identity = p_identity THEN
    RETURN QUERY SELECT 'bound', v_own.marker, NULL, NULL, NULL;
    RETURN;
  END IF;

  IF p_chain IS NOT NULL THEN
    PERFORM 1 FROM projects p WHERE p.project_id = session_chain.project_key(p_project) FOR NO KEY UPDATE;
    IF NOT EXISTS (SELECT FROM session_chain.holder_of(p_project) c WHERE c.id = p_chain AND c.ticket = p_ticket) THEN
      RETURN QUERY SELECT 'fenced', NULL::uuid, NULL, NULL, NULL;
      RETURN;
    END IF;
  END IF;
  DELETE FROM session_chain.workspaces w
    WHERE w.project_id <> p_project AND (w.below && v_below OR w.identity = p_identity OR w.marker = p_marker)
      AND NOT EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key(w.project_id))
      AND NOT EXISTS (SELECT FROM session_chain.attempts a WHERE a.project_id = w.project_id AND a.state = 'running'
        AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp());
  LOOP
    SELECT * INTO v_other FROM session_chain.workspaces w
      WHERE w.project_id <> p_project
        AND (w.below && v_below OR w.identity = p_identity OR (v_own.marker IS NULL AND w.marker = p_marker)) LIMIT 1;
    IF FOUND THEN
      RETURN QUERY SELECT 'taken', NULL::uuid, v_other.project_id, v_other.path, v_other.worker;
      RETURN;
    END IF;
    IF p_chain IS NULL THEN
      RETURN QUERY SELECT CASE WHEN v_own.marker IS NULL THEN 'unbound' ELSE 'bound' END, v_own.marker, NULL, NULL, NULL;
      RETURN;
    END IF;
    BEGIN
      RETURN QUERY INSERT INTO session_chain.workspaces AS w (project_id, requested, path, identity, worker)
        VALUES (p_project, p_requested, p_path, p_identity, p_worker)
        ON CONFLICT (project_id) DO UPDATE SET requested = excluded.requested, path = excluded.path,
          marker = coalesce(v_own.marker, excluded.marker), identity = excluded.identity, worker = excluded.worker,
          seen_at = excluded.seen_at
        RETURNING 'bound', w.marker, NULL, NULL, NULL;
      RETURN;
    EXCEPTION WHEN exclusion_violation OR unique_violation THEN
      -- Another project was bound meanwhile; this look finds it.
    END;
  END LOOP;
END
$$;
