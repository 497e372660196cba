-- The application's data: users, personas, conversations, who takes part in them, and messages.

CREATE FUNCTION public.set_updated_at() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;

CREATE TABLE public.users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL CONSTRAINT users_email_form CHECK (email LIKE '_%@_%' AND length(email) <= 320),
    cognito_sub text NOT NULL CONSTRAINT users_cognito_sub_form CHECK (length(cognito_sub) BETWEEN 1 AND 128),
    preferences jsonb NOT NULL DEFAULT '{}' CONSTRAINT users_preferences_object CHECK (jsonb_typeof(preferences) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.users IS 'People who sign in; cognito_sub is the subject of their tokens';
-- Addresses differ by more than their case only in theory.
CREATE UNIQUE INDEX users_email_key ON public.users (lower(email));
CREATE UNIQUE INDEX users_cognito_sub_key ON public.users (cognito_sub);
CREATE INDEX users_preferences_idx ON public.users USING gin (preferences jsonb_path_ops);

CREATE TABLE public.personas (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id uuid REFERENCES public.users ON DELETE CASCADE,
    type text NOT NULL CONSTRAINT personas_type_known CHECK (type IN ('human', 'ai')),
    name text NOT NULL CONSTRAINT personas_name_form CHECK (length(name) BETWEEN 1 AND 200),
    traits jsonb NOT NULL DEFAULT '{}' CONSTRAINT personas_traits_object CHECK (jsonb_typeof(traits) = 'object'),
    model_settings jsonb NOT NULL DEFAULT '{}' CONSTRAINT personas_model_settings_object CHECK (jsonb_typeof(model_settings) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT personas_human_has_owner CHECK (type = 'ai' OR owner_id IS NOT NULL)
);
COMMENT ON TABLE public.personas IS 'Who speaks: a person''s own face, or an AI with its traits and model settings';
CREATE INDEX personas_owner_id_idx ON public.personas (owner_id);
CREATE INDEX personas_name_idx ON public.personas (lower(name) text_pattern_ops);
CREATE INDEX personas_traits_idx ON public.personas USING gin (traits jsonb_path_ops);

CREATE TABLE public.conversations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title text NOT NULL DEFAULT '' CONSTRAINT conversations_title_length CHECK (length(title) <= 500),
    topic text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active' CONSTRAINT conversations_status_known CHECK (status IN ('active', 'paused', 'ended', 'archived')),
    settings jsonb NOT NULL DEFAULT '{}' CONSTRAINT conversations_settings_object CHECK (jsonb_typeof(settings) = 'object'),
    metadata jsonb NOT NULL DEFAULT '{}' CONSTRAINT conversations_metadata_object CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.conversations IS 'What is talked about, and under which rules';
CREATE INDEX conversations_status_idx ON public.conversations (status, updated_at DESC);
CREATE INDEX conversations_metadata_idx ON public.conversations USING gin (metadata jsonb_path_ops);
CREATE INDEX conversations_search_idx ON public.conversations USING gin (to_tsvector('english', title || ' ' || topic));

CREATE TABLE public.conversation_participants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    conversation_id uuid NOT NULL REFERENCES public.conversations ON DELETE CASCADE,
    persona_id uuid NOT NULL REFERENCES public.personas ON DELETE CASCADE,
    role text NOT NULL DEFAULT 'member' CONSTRAINT conversation_participants_role_known CHECK (role IN ('owner', 'moderator', 'member', 'observer')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    left_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}' CONSTRAINT conversation_participants_metadata_object CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT conversation_participants_once UNIQUE (conversation_id, persona_id),
    CONSTRAINT conversation_participants_left_after_joining CHECK (left_at >= joined_at)
);
COMMENT ON TABLE public.conversation_participants IS 'Which persona takes part in which conversation, as what, from when to when';
CREATE INDEX conversation_participants_persona_id_idx ON public.conversation_participants (persona_id);

CREATE TABLE public.messages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    conversation_id uuid NOT NULL REFERENCES public.conversations ON DELETE CASCADE,
    author_persona_id uuid NOT NULL REFERENCES public.personas ON DELETE CASCADE,
    reply_to_id uuid REFERENCES public.messages ON DELETE SET NULL,
    content text NOT NULL,
    type text NOT NULL DEFAULT 'text' CONSTRAINT messages_type_known CHECK (type IN ('text', 'image', 'event', 'system')),
    -- Rises with every message, so that a conversation is read in the order in which it was written.
    sequence bigint GENERATED BY DEFAULT AS IDENTITY,
    metadata jsonb NOT NULL DEFAULT '{}' CONSTRAINT messages_metadata_object CHECK (jsonb_typeof(metadata) = 'object'),
    search tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT messages_in_order UNIQUE (conversation_id, sequence),
    CONSTRAINT messages_no_reply_to_itself CHECK (reply_to_id <> id),
    CONSTRAINT messages_text_not_empty CHECK (type <> 'text' OR content <> '')
);
COMMENT ON TABLE public.messages IS 'What was said, by whom, in answer to what';
CREATE INDEX messages_author_persona_id_idx ON public.messages (author_persona_id);
CREATE INDEX messages_reply_to_id_idx ON public.messages (reply_to_id) WHERE reply_to_id IS NOT NULL;
CREATE INDEX messages_search_idx ON public.messages USING gin (search);
CREATE INDEX messages_metadata_idx ON public.messages USING gin (metadata jsonb_path_ops);

CREATE TRIGGER users_updated_at BEFORE UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER personas_updated_at BEFORE UPDATE ON public.personas FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER conversations_updated_at BEFORE UPDATE ON public.conversations FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER conversation_participants_updated_at BEFORE UPDATE ON public.conversation_participants FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER messages_updated_at BEFORE UPDATE ON public.messages FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
