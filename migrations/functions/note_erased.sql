-- Notes of what is not a row, before it is deleted: p_count of a kind were found (a look that is repeated finds fewer),
-- and for the certificate what stays of the kind, as [{what, why}], and what goes later, as [{what, until}].
CREATE FUNCTION session_chain.note_erased(p_erasure uuid, p_kind text, p_count bigint, p_left jsonb, p_later jsonb) RETURNS void
LANGUAGE sql AS $$
  UPDATE session_chain.erasures e SET
      counts = CASE WHEN coalesce((e.counts ->> p_kind)::bigint, 0) < p_count THEN e.counts || jsonb_build_object(p_kind, p_count)
                    ELSE e.counts END,
      notes = e.notes || jsonb_build_object(p_kind, jsonb_build_object('left', p_left, 'later', p_later))
    WHERE e.id = p_erasure AND e.finished_at IS NULL
$$;
