import {
  type ConverterHint,
  DefaultPayloadConverter,
  type Payload,
  type PayloadConverter,
  type SerializationContext,
} from '@temporalio/common';

/**
 * The workflows' payload converter: what cannot be decoded arrives as undefined. Any client of Temporal may signal a
 * workflow, and the SDK decodes a signal outside of every handler: a payload in a foreign encoding would fail the
 * workflow's tasks for ever.
 */
class ForgivingPayloadConverter extends DefaultPayloadConverter {
  override fromPayload<Value>(
    payload: Payload,
    context?: SerializationContext,
    hint?: ConverterHint<Value>,
  ): Value {
    try {
      return super.fromPayload<Value>(payload, context, hint);
    } catch {
      return undefined as Value;
    }
  }
}

export const payloadConverter: PayloadConverter = new ForgivingPayloadConverter();
