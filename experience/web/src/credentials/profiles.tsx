import { useState } from "react";
import type { BrowserProfile } from "../api/nouns";
import { useDeleteProfile, useProfiles } from "../api/profiles";
import { mayDeleteProfiles, useMe } from "../shell/me";
import { Loading } from "../ui/empty";
import { Ago } from "../ui/time";
import { Trouble } from "../ui/trouble";

/** Logins that workflows have saved: names and hosts, never what is in one. */
export function Profiles() {
  const profiles = useProfiles();
  const items = profiles.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section aria-labelledby="saved-logins" className="saved-logins">
      <h2 id="saved-logins">Saved logins</h2>
      <p className="soft credentials-about">
        What sites keep of who is signed in, saved by workflows with “Save login”. A launch that names one as its
        profile begins signed in.
      </p>
      {profiles.error && (
        <Trouble error={profiles.error}>
          <button type="button" className="button small" onClick={() => profiles.refetch()}>
            Try again
          </button>
        </Trouble>
      )}
      {profiles.isLoading && <Loading what="saved logins" lines={2} />}
      {profiles.data && !items.length && <p className="soft">No workflow has saved one yet.</p>}
      <ul className="credentials">
        {items.map((profile) => (
          <li key={profile.browser_profile_id}>
            <ProfileCard profile={profile} />
          </li>
        ))}
      </ul>
      {profiles.hasNextPage && (
        <button
          type="button"
          className="button"
          disabled={profiles.isFetchingNextPage}
          onClick={() => profiles.fetchNextPage()}
        >
          {profiles.isFetchingNextPage ? "Loading…" : "Show older logins"}
        </button>
      )}
    </section>
  );
}

function ProfileCard({ profile }: { profile: BrowserProfile }) {
  const [isDeleting, setDeleting] = useState(false);
  const mayDelete = mayDeleteProfiles(useMe());
  return (
    <article className="credential card">
      <header>
        <h3>{profile.name}</h3>
        <span className="soft">
          version {profile.version}, saved <Ago at={profile.updated_at} /> ·{" "}
          {profile.last_used_at ? (
            <>
              used <Ago at={profile.last_used_at} />
            </>
          ) : (
            "never used"
          )}
        </span>
      </header>
      <ul className="credential-domains" aria-label="Hosts">
        {profile.hosts.map((host) => (
          <li key={host} className="mono">
            {host}
          </li>
        ))}
      </ul>
      {mayDelete && !isDeleting && (
        <div className="credential-acts">
          <button type="button" className="button small danger" onClick={() => setDeleting(true)}>
            Delete…<span className="hidden-text"> of the login {profile.name}</span>
          </button>
        </div>
      )}
      {isDeleting && <Delete profile={profile} onDone={() => setDeleting(false)} />}
    </article>
  );
}

function Delete({ profile, onDone }: { profile: BrowserProfile; onDone: () => void }) {
  const remove = useDeleteProfile(profile.browser_profile_id);
  return (
    <form
      className="credential-form"
      aria-label={`Delete the login ${profile.name}`}
      onSubmit={(event) => {
        event.preventDefault();
        remove.mutate();
      }}
    >
      <p>What is in it is gone for good, and workflows that name it fail from then on.</p>
      {remove.error ? <Trouble error={remove.error} /> : null}
      <div className="credential-acts">
        <button type="submit" className="button danger" disabled={remove.isPending || remove.isSuccess}>
          Delete
        </button>
        <button type="button" className="button plain" onClick={onDone}>
          Cancel
        </button>
      </div>
    </form>
  );
}
