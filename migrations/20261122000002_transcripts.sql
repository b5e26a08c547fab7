-- Up Migration
-- Sessions and their transcripts. An entry is stored once per project, however many forks repeat it; a batch is one
-- append, an ordered list of entries. They are text: jsonb would reorder their keys and so ruin the prompt cache.

CREATE TABLE session_chain.sessions (
  id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  project_id text NOT NULL,
  session_id text NOT NULL,
  parent_session_id text,
  batches integer NOT NULL DEFAULT 0,
  entries bigint NOT NULL DEFAULT 0,
  messages bigint NOT NULL DEFAULT 0,
  appended_bytes bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  appended_at timestamptz,
  sealed_at timestamptz,
  quarantined_at timestamptz,
  quarantine_reason text,
  PRIMARY KEY (project_id, session_id),
  CHECK (quarantined_at IS NULL OR quarantine_reason IS NOT NULL)
) WITH (fillfactor = 80);
COMMENT ON TABLE session_chain.sessions IS 'One row per Claude session; every append goes through it, so that order and seal need nothing else';
COMMENT ON COLUMN session_chain.sessions.parent_session_id IS 'The session that this one forked; null for one that started fresh';
COMMENT ON COLUMN session_chain.sessions.batches IS 'Appends accepted so far; the ordinal of the last one';
COMMENT ON COLUMN session_chain.sessions.entries IS 'Entries of the main transcript, as they were appended';
COMMENT ON COLUMN session_chain.sessions.messages IS 'User and assistant entries among them';
COMMENT ON COLUMN session_chain.sessions.appended_bytes IS 'What the agent appended, subagents included, before anything was shared';
COMMENT ON COLUMN session_chain.sessions.sealed_at IS 'Since when this session accepts no more entries';
COMMENT ON COLUMN session_chain.sessions.quarantined_at IS 'Since when no step may go on from this session';

CREATE TABLE session_chain.transcript_texts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project_id text NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  content text NOT NULL,
  UNIQUE (project_id, digest)
);
COMMENT ON TABLE session_chain.transcript_texts IS 'One row per distinct text of a project''s transcripts: an entry without what differs from fork to fork, or the patch that gives this back';
COMMENT ON COLUMN session_chain.transcript_texts.digest IS 'SHA-256 of content in UTF-8';
COMMENT ON COLUMN session_chain.transcript_texts.content IS 'JSON, where U+0001 stands for the session''s id and U+0002 for the value in the patch';

CREATE TABLE session_chain.transcript_batches (
  session bigint NOT NULL REFERENCES session_chain.sessions (id) ON DELETE CASCADE,
  ordinal integer NOT NULL,
  append_id uuid NOT NULL,
  patch_id bigint REFERENCES session_chain.transcript_texts (id),
  subpath text NOT NULL,
  entry_ids bigint[] NOT NULL CHECK (cardinality(entry_ids) > 0 AND array_position(entry_ids, NULL) IS NULL),
  PRIMARY KEY (session, ordinal),
  CONSTRAINT transcript_batches_append_key UNIQUE (session, append_id)
);
COMMENT ON TABLE session_chain.transcript_batches IS 'One row per append: which entries, in which order';
COMMENT ON COLUMN session_chain.transcript_batches.append_id IS 'Names the append, so that one sent again after a lost answer is stored once';
COMMENT ON COLUMN session_chain.transcript_batches.patch_id IS 'The text that holds what the entries of this batch lack; null for nothing';
COMMENT ON COLUMN session_chain.transcript_batches.subpath IS 'Empty for the main transcript, else subagents/agent-…';
COMMENT ON COLUMN session_chain.transcript_batches.entry_ids IS 'The texts of its entries, in the order in which they were appended';

-- Stores one append and returns its ordinal. p_digests and p_texts are its entries in order, then the patch if there is one
-- (p_patched); the texts are joined by U+0003, because an array literal of much JSON costs 20 times the time.
-- The first statement locks the session's row, so that appends of one session follow each other and none passes a seal:
-- SC001 says that the session is sealed. A unique violation of transcript_batches_append_key says that this append was
-- stored before.
CREATE FUNCTION session_chain.append_entries(
  p_project text, p_session text, p_subpath text, p_append_id uuid, p_digests bytea[], p_texts text,
  p_patched boolean, p_messages integer, p_bytes bigint)
RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_entries integer := cardinality(p_digests) - p_patched::integer;
  v_main integer := (p_subpath = '')::integer;
  v_session bigint;
  v_ordinal integer;
  v_ids bigint[];
BEGIN
  INSERT INTO session_chain.sessions AS s
    (project_id, session_id, batches, entries, messages, appended_bytes, appended_at)
  VALUES (p_project, p_session, 1, v_main * v_entries, v_main * p_messages, p_bytes, clock_timestamp())
  ON CONFLICT (project_id, session_id) DO UPDATE SET
    batches = s.batches + 1,
    entries = s.entries + excluded.entries,
    messages = s.messages + excluded.messages,
    appended_bytes = s.appended_bytes + excluded.appended_bytes,
    appended_at = clock_timestamp()
    WHERE s.sealed_at IS NULL
  RETURNING s.id, s.batches INTO v_session, v_ordinal;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'session % of project % is sealed', p_session, p_project USING ERRCODE = 'SC001';
  END IF;

  -- In the order of their digests: two sessions that bring the same texts wait for each other and cannot deadlock.
  INSERT INTO session_chain.transcript_texts (project_id, digest, content)
  SELECT p_project, u.digest, u.content
  FROM unnest(p_digests, string_to_array(p_texts, E'\x03')) AS u (digest, content)
  WHERE NOT EXISTS (
    SELECT FROM session_chain.transcript_texts t WHERE t.project_id = p_project AND t.digest = u.digest)
  ORDER BY u.digest
  ON CONFLICT (project_id, digest) DO NOTHING;

  -- A statement of its own: its snapshot shows what another session has just stored in our stead.
  SELECT array_agg(t.id ORDER BY u.n) INTO v_ids
  FROM unnest(p_digests) WITH ORDINALITY AS u (digest, n)
  LEFT JOIN session_chain.transcript_texts t ON t.project_id = p_project AND t.digest = u.digest;

  INSERT INTO session_chain.transcript_batches (session, ordinal, append_id, patch_id, subpath, entry_ids)
  VALUES (v_session, v_ordinal, p_append_id, CASE WHEN p_patched THEN v_ids[v_entries + 1] END, p_subpath, v_ids[1:v_entries]);
  RETURN v_ordinal;
END
$$;

-- Whether a step may go on from this session: its transcript is here, holds a message, and is not in quarantine.
CREATE FUNCTION session_chain.session_is_usable(p_project text, p_session text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM session_chain.sessions s
    WHERE s.project_id = p_project AND s.session_id = p_session AND s.messages > 0 AND s.quarantined_at IS NULL)
$$;

-- Deletes a session's transcript, or one subpath of it (p_subpath not null). Returns 'referenced' and deletes nothing when
-- the session is or was a head, belongs to a version, or to an attempt that runs or is committed, or is such an
-- attempt's base. The project row is locked first, as by every commit. Texts stay: other sessions may share them.
CREATE FUNCTION session_chain.delete_session(p_project text, p_session text, p_subpath text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_session bigint;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id::text = p_project FOR NO KEY UPDATE;
  SELECT s.id INTO v_session FROM session_chain.sessions s
    WHERE s.project_id = p_project AND s.session_id = p_session FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 'absent';
  END IF;
  IF EXISTS (SELECT FROM projects p WHERE p.project_id::text = p_project AND p.last_ai_session_id::text = p_session)
     OR EXISTS (SELECT FROM project_versions v WHERE v.project_id::text = p_project AND v.ai_session_id::text = p_session)
     OR EXISTS (SELECT FROM session_transitions t WHERE t.project_id::text = p_project
       AND p_session IN (t.old_session_id::text, t.new_session_id::text, t.parent_session_id::text))
     OR EXISTS (SELECT FROM session_chain.attempts a WHERE a.project_id = p_project AND a.state <> 'failed'
       AND p_session IN (a.session_id, a.base_session_id, a.adopts)) THEN
    RETURN 'referenced';
  END IF;

  IF p_subpath IS NOT NULL THEN
    DELETE FROM session_chain.transcript_batches b WHERE b.session = v_session AND b.subpath = p_subpath;
  ELSIF EXISTS (SELECT FROM session_chain.attempts a WHERE a.project_id = p_project AND a.session_id = p_session) THEN
    -- The journal names this session for good: its row stays, sealed and empty.
    DELETE FROM session_chain.transcript_batches b WHERE b.session = v_session;
    UPDATE session_chain.sessions s SET entries = 0, messages = 0, sealed_at = coalesce(s.sealed_at, clock_timestamp())
      WHERE s.id = v_session;
  ELSE
    DELETE FROM session_chain.sessions s WHERE s.id = v_session;
  END IF;
  RETURN 'deleted';
END
$$;
