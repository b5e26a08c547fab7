import {
  type ConverterHint,
  DefaultPayloadConverter,
  type Payload,
  type PayloadConverter,
  type SerializationContext,
} from '@temporalio/common';
import { inWorkflowContext, workflowInfo } from '@temporalio/workflow';
import { workflowTypes } from '../temporal/names.js';

/**
 * The workflows' payload converter: what cannot be decoded arrives as undefined. Any client of Temporal may signal a
 * workflow, and the SDK decodes a signal outside of every handler: a payload in a foreign encoding would fail the
 * workflow's tasks forever. Workflows of a host that share the bundle are left as they are.
 */
class ForgivingPayloadConverter extends DefaultPayloadConverter {
  override fromPayload<Value>(
    payload: Payload,
    context?: SerializationContext,
    hint?: ConverterHint<Value>,
  ): Value {
    try {
      return super.fromPayload<Value>(payload, context, hint);
    } catch (error) {
      if (!isOurs()) throw error;
      return undefined as Value;
    }
  }
}

const ours: readonly string[] = Object.values(workflowTypes);

function isOurs(): boolean {
  return inWorkflowContext() && ours.includes(workflowInfo().workflowType);
}

export const payloadConverter: PayloadConverter = new ForgivingPayloadConverter();
