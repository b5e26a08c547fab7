-- The events of a question's row; that an attempt to answer it began is told by the attempt.
CREATE FUNCTION session_chain.event_of_question() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  v_question jsonb := jsonb_build_object('chatId', NEW.session_id::text, 'messageId', NEW.message_id,
    'questionId', NEW.question_id::text);
BEGIN
  CASE NEW.state
    WHEN 'asked' THEN
      PERFORM session_chain.write_event(NEW.project_id::text, NULL, NULL, NULL, 'question.asked',
        v_question || jsonb_build_object('when', NEW.read_when, 'aside', NEW.aside, 'again', TG_OP = 'UPDATE'));
    WHEN 'answered' THEN
      PERFORM session_chain.write_event(NEW.project_id::text, NULL, NULL, NULL, 'question.answered',
        v_question || jsonb_build_object('kind', NEW.kind, 'sessionId', NEW.ai_session_id::text));
    WHEN 'failed' THEN
      PERFORM session_chain.write_event(NEW.project_id::text, NULL, NULL, NULL, 'question.failed',
        v_question || jsonb_build_object('code', session_chain.failure_code(NEW.failure)));
    ELSE
  END CASE;
  RETURN NULL;
END
$$;
CREATE TRIGGER event_of_new_question AFTER INSERT ON project_chat_log_minimal
  FOR EACH ROW WHEN (NEW.question_id IS NOT NULL) EXECUTE FUNCTION session_chain.event_of_question();
CREATE TRIGGER event_of_question AFTER UPDATE OF state ON project_chat_log_minimal
  FOR EACH ROW WHEN (NEW.question_id IS NOT NULL AND OLD.state IS DISTINCT FROM NEW.state)
  EXECUTE FUNCTION session_chain.event_of_question();
