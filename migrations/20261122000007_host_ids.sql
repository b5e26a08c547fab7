-- Up Migration
-- Host ids of any type. Our own tables hold ids as text; where a host's column is compared, the text is cast to the column's
-- type, so that its index serves. An id that the type cannot hold, or that is not written as Postgres prints it, is no id
-- of that column: the cast gives null, and two spellings of one id can never be two projects in our tables.

DO $$
DECLARE
  v_key record;
BEGIN
  FOR v_key IN
    SELECT k.name, k.tab, k.col, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype AS type
    FROM (VALUES ('project_key', 'projects', 'project_id'), ('version_key', 'project_versions', 'version_id'),
        ('transition_project_key', 'session_transitions', 'project_id'), ('chat_key', 'chat_plan_sessions', 'session_id'),
        ('chat_log_key', 'project_chat_log_minimal', 'session_id'),
        ('chat_log_project_key', 'project_chat_log_minimal', 'project_id')) AS k (name, tab, col)
    JOIN pg_attribute a ON a.attrelid = k.tab::regclass AND a.attname = k.col
    JOIN pg_type t ON t.oid = a.atttypid
  LOOP
    EXECUTE format('CREATE FUNCTION session_chain.%I(p_id text) RETURNS %s LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L',
      v_key.name, v_key.type, CASE
        WHEN v_key.type = 'uuid'::regtype THEN
          $body$SELECT CASE WHEN p_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN p_id::uuid END$body$
        WHEN v_key.type IN ('smallint', 'integer', 'bigint') THEN format(
          $body$SELECT CASE WHEN p_id ~ '^(0|[1-9][0-9]{0,18})$' THEN CASE WHEN p_id::numeric <= %s THEN p_id::%s END END$body$,
          CASE v_key.type WHEN 'smallint'::regtype THEN '32767' WHEN 'integer'::regtype THEN '2147483647'
            ELSE '9223372036854775807' END, v_key.type)
        ELSE format('SELECT p_id::%s', v_key.type)
      END);
    EXECUTE format('COMMENT ON FUNCTION session_chain.%I IS %L', v_key.name,
      format('An id in the type of %s.%s; null for what is no id of it', v_key.tab, v_key.col));
  END LOOP;
END
$$;

-- The key from projects to its last transition needs one type on both sides.
DO $$
DECLARE
  v_project regtype := (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = 'projects'::regclass AND a.attname = 'project_id');
  v_transition regtype := (SELECT a.atttypid FROM pg_attribute a
    WHERE a.attrelid = 'session_transitions'::regclass AND a.attname = 'project_id');
BEGIN
  IF v_project <> v_transition AND NOT (ARRAY[v_project, v_transition] <@ ARRAY['text', 'varchar']::regtype[])
     AND NOT (ARRAY[v_project, v_transition] <@ ARRAY['smallint', 'integer', 'bigint']::regtype[]) THEN
    EXECUTE format('ALTER TABLE session_transitions
      ADD COLUMN project_ref %1$s GENERATED ALWAYS AS (CASE WHEN seq IS NOT NULL THEN project_id::text::%1$s END) STORED,
      ADD CONSTRAINT session_transitions_ref_key UNIQUE (project_ref, seq, new_session_id)', v_project);
    COMMENT ON COLUMN session_transitions.project_ref IS 'project_id in the type of projects.project_id, for the key from there';
  END IF;
END
$$;

-- What changes in functions of earlier migrations, and nothing else in them: their texts are edited in place. A piece that
-- is not there any more stops the migration.
DO $edit$
DECLARE
  v_edit record;
  v_definition text;
BEGIN
  FOR v_edit IN
    SELECT * FROM (VALUES
      ('register_chain', 'v_project projects.project_id%TYPE := p_project;', $new$v_project projects.project_id%TYPE := session_chain.project_key(p_project);
  v_version project_versions.version_id%TYPE := session_chain.version_key(p_version);$new$),
      ('register_chain', 'WHERE v.version_id = p_version', 'WHERE v.version_id = v_version'),
      ('register_chain', 'VALUES (p_version, v_project)', 'VALUES (v_version, v_project)'),
      ('adopt_head', ':= p_project;', ':= session_chain.project_key(p_project);'),
      ('adopt_head', 't.project_id = p_project', 't.project_id = session_chain.transition_project_key(p_project)'),
      ('adopt_head', 'VALUES (p_project, NULL', 'VALUES (v_id, NULL'),
      ('open_chain', ':= p_project;', ':= session_chain.project_key(p_project);'),
      ('open_chain', 'v.version_id = v_chain.version_id', 'v.version_id = session_chain.version_key(v_chain.version_id)'),
      ('begin_attempt', ':= p_project;', ':= session_chain.project_key(p_project);'),
      ('release_chain', ':= p_project;', ':= session_chain.project_key(p_project);'),
      ('close_chain', ':= p_project;', ':= session_chain.project_key(p_project);'),
      ('close_chain', 'v.version_id = v_chain.version_id', 'v.version_id = session_chain.version_key(v_chain.version_id)'),
      ('begin_move', ':= p_project;', ':= session_chain.project_key(p_project);'),
      ('begin_move', ':= p_version;', ':= session_chain.version_key(p_version);'),
      ('begin_move', 'WHERE v.version_id = v_version;',
        'WHERE v.version_id = v_version ORDER BY (v.project_id = v_id) DESC LIMIT 1;'),
      ('delete_session', '  v_session bigint;', $new$  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_session bigint;$new$),
      ('delete_session', 'p.project_id::text = p_project', 'p.project_id = v_id'),
      ('delete_session', 'v.project_id::text = p_project', 'v.project_id = v_id'),
      ('delete_session', 't.project_id::text = p_project', 't.project_id = session_chain.transition_project_key(p_project)'),
      ('session_ancestors', 't.project_id = p_project', 't.project_id = session_chain.transition_project_key(p_project)'),
      ('origin_at_head', 't.project_id = p_chain.project_id',
        't.project_id = session_chain.transition_project_key(p_chain.project_id)'),
      ('record_question', ':= p_project;', ':= session_chain.project_key(p_project);'),
      ('record_question', 'chat_plan_sessions.session_id%TYPE := p_chat;',
        'chat_plan_sessions.session_id%TYPE := session_chain.chat_key(p_chat);'),
      ('record_question', 'project_chat_log_minimal.session_id%TYPE := p_chat;',
        'project_chat_log_minimal.session_id%TYPE := session_chain.chat_log_key(p_chat);'),
      ('record_question', '  INSERT INTO chat_plan_sessions', $new$  IF v_chat IS NULL OR v_log_chat IS NULL THEN
    RETURN QUERY SELECT 'malformed_chat', NULL::bigint;
    RETURN;
  END IF;
  INSERT INTO chat_plan_sessions$new$),
      ('record_question', 'SELECT v_chat, p_project,', 'SELECT v_chat, v_id,'),
      ('record_question', 'UPDATE chat_plan_sessions c SET project_id = coalesce(c.project_id, p_project),', $new$UPDATE chat_plan_sessions c SET project_id = v_id WHERE c.session_id = v_chat AND c.project_id IS NULL;
  UPDATE chat_plan_sessions c SET$new$),
      ('record_question', 'VALUES (v_log_chat, p_project,', 'VALUES (v_log_chat, v_id,')
    ) AS e (name, was, becomes)
  LOOP
    v_definition := pg_get_functiondef(('session_chain.' || v_edit.name)::regproc);
    IF position(v_edit.was IN v_definition) = 0 THEN
      RAISE EXCEPTION 'session_chain.% does not say: %', v_edit.name, v_edit.was;
    END IF;
    EXECUTE replace(v_definition, v_edit.was, v_edit.becomes);
  END LOOP;
END
$edit$;
