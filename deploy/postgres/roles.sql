-- Roles and schemas of Stagedoor. Run by a superuser inside the database; running it again changes nothing.
--
-- Each tier has three login roles, and no role is a member of another:
--   <tier>_owner   owns the schema and runs migrations, nothing else
--   <tier>_app     serves requests; row-level security shows it one tenant at a time
--   <tier>_system  work across tenants (admission, scheduler, reconciler, pruning); subject to the same FORCE, with a
--                  policy of its own on each table, so that what it may see stands in the migrations and not in a flag
-- No passwords here: the local stack lets a private socket directory decide, compose sets them from secret files.

DO $$
DECLARE
    tier text;
    part text;
    role_name text;
BEGIN
    FOREACH tier IN ARRAY ARRAY['experience', 'runtime'] LOOP
        FOREACH part IN ARRAY ARRAY['owner', 'app', 'system'] LOOP
            role_name := tier || '_' || part;
            -- Roles belong to the server, not to the database: two databases may be set up at the same moment.
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                    EXECUTE format(
                        'CREATE ROLE %I LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', role_name);
                    EXECUTE format('ALTER ROLE %I SET search_path = %I', role_name, tier);
                END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END LOOP;

        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', tier, tier || '_owner');
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', tier, tier || '_app', tier || '_system');
        -- What a migration creates later; append-only tables take UPDATE and DELETE away again.
        EXECUTE format(
            'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I, %I',
            tier || '_owner', tier, tier || '_app', tier || '_system');
        EXECUTE format(
            'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT USAGE, SELECT ON SEQUENCES TO %I, %I',
            tier || '_owner', tier, tier || '_app', tier || '_system');

        EXECUTE format(
            'GRANT CONNECT ON DATABASE %I TO %I, %I, %I',
            current_database(), tier || '_owner', tier || '_app', tier || '_system');
    END LOOP;

    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
END
$$;
