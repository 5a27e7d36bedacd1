/**
 * What letters say. Nothing in them comes from a client: no name, which could be an advertisement, and no host of a request,
 * which could be another server's.
 */
import type { Locale } from '../core/errors.js'
import type { LetterKind } from './letter.js'

export interface LetterText {
  readonly subject: string
  readonly lead: string
  /** Of the link. */
  readonly button?: string
  /** Before the code. */
  readonly code?: string
  /** What to do if it was somebody else. */
  readonly otherwise: string
}

export const LETTER_TEXTS: Readonly<Record<Locale, Readonly<Record<LetterKind, LetterText>>>> = {
  en: {
    reset: {
      subject: 'Set a new MumiChat password',
      lead: 'Somebody, probably you, has asked for a new password for the MumiChat account of this address.',
      button: 'Set a new password',
      code: 'Or enter this code together with your address, where you asked for it or on the page /account/reset of your server:',
      otherwise: 'If it was not you, do nothing: your password stays as it is.',
    },
    verify: {
      subject: 'Confirm your address for MumiChat',
      lead: 'This address was given for a MumiChat account. Please confirm that it is yours.',
      button: 'Confirm the address',
      code: 'Or enter this code together with your address, in your program or on the page /account/verify of your server:',
      otherwise: 'If it is not your account, do nothing.',
    },
    change: {
      subject: 'Confirm your new address for MumiChat',
      lead: 'A MumiChat account is to have this address from now on. Please confirm that it is yours.',
      button: 'Use this address',
      code: 'Or enter this code where you asked for the change, or together with the address that the account has had until now on the page /account/verify of your server:',
      otherwise: 'If it is not your account, do nothing.',
    },
    'email-changed': {
      subject: 'The address of your MumiChat account was changed',
      lead: 'Your MumiChat account has another address now. No more mail about it comes here.',
      button: 'Take the change back',
      otherwise:
        'If it was you, do nothing. If not, take it back: you choose a new password then, and everybody else is logged out.',
    },
    'password-changed': {
      subject: 'The password of your MumiChat account was changed',
      lead: 'Your MumiChat account has a new password. Whoever was logged in with the old one no longer is.',
      otherwise:
        'If it was not you, ask for a new password at once, on the page “Forgotten password” of your server.',
    },
    'second-factor-on': {
      subject: 'Your MumiChat account has a second factor',
      lead: 'To log in to your MumiChat account, a code of an authenticator app is needed from now on.',
      otherwise:
        'If it was not you, somebody knows your password: set a new one on the page “Forgotten password” of your server, and ask its operator to switch the second factor off.',
    },
    'second-factor-off': {
      subject: 'The second factor of your MumiChat account was switched off',
      lead: 'To log in to your MumiChat account, the password is enough from now on.',
      otherwise:
        'If it was not you, set a new password at once, on the page “Forgotten password” of your server.',
    },
    'passkey-added': {
      subject: 'Your MumiChat account has a new passkey',
      lead: 'Whoever has this passkey can log in to your MumiChat account without password and code.',
      otherwise:
        'If it was not you, set a new password at once, on the page “Forgotten password” of your server: it ends all passkeys.',
    },
    'recovery-codes-renewed': {
      subject: 'Your MumiChat account has new recovery codes',
      lead: 'The recovery codes of your MumiChat account were replaced. Those before are good no more.',
      otherwise:
        'If it was not you, set a new password at once, on the page “Forgotten password” of your server, and make new codes.',
    },
    'app-password-made': {
      subject: 'Your MumiChat account has a new app password',
      lead: 'A password for an app or a device was made. With it alone one can log in to your MumiChat account.',
      otherwise:
        'If it was not you, set a new password on the page “Forgotten password” of your server: that ends all app passwords.',
    },
  },
  'zh-TW': {
    reset: {
      subject: '設定新的 MumiChat 密碼',
      lead: '有人（應該是您）要為這個信箱的 MumiChat 帳號設定新密碼。',
      button: '設定新密碼',
      code: '或在您提出要求的地方，或您伺服器的網頁 /account/reset，輸入您的電子郵件地址與這組驗證碼：',
      otherwise: '如果不是您本人，請不必理會，您的密碼不會改變。',
    },
    verify: {
      subject: '請確認您的 MumiChat 電子郵件地址',
      lead: '有一個 MumiChat 帳號填寫了這個電子郵件地址，請確認它是您的。',
      button: '確認電子郵件地址',
      code: '或在您的程式，或您伺服器的網頁 /account/verify，輸入您的電子郵件地址與這組驗證碼：',
      otherwise: '如果那不是您的帳號，請不必理會。',
    },
    change: {
      subject: '請確認您的 MumiChat 新電子郵件地址',
      lead: '有一個 MumiChat 帳號要改用這個電子郵件地址，請確認它是您的。',
      button: '使用這個電子郵件地址',
      code: '或在您要求變更的地方輸入這組驗證碼，或在您伺服器的網頁 /account/verify 輸入帳號目前的電子郵件地址與驗證碼：',
      otherwise: '如果那不是您的帳號，請不必理會。',
    },
    'email-changed': {
      subject: '您的 MumiChat 帳號已變更電子郵件地址',
      lead: '您的 MumiChat 帳號已改用另一個電子郵件地址，這裡不會再收到相關信件。',
      button: '取消這次變更',
      otherwise: '如果是您本人變更的，請不必理會。如果不是，請取消變更並設定新密碼，其他連線都會登出。',
    },
    'password-changed': {
      subject: '您的 MumiChat 密碼已變更',
      lead: '您的 MumiChat 帳號已設定新密碼，以舊密碼登入的連線都已登出。',
      otherwise: '如果不是您本人，請立刻在您伺服器的「忘記密碼」網頁設定新密碼。',
    },
    'second-factor-on': {
      subject: '您的 MumiChat 帳號已啟用兩步驟驗證',
      lead: '從現在起，登入您的 MumiChat 帳號需要驗證器應用程式的驗證碼。',
      otherwise:
        '如果不是您本人，表示有人知道您的密碼：請在您伺服器的「忘記密碼」網頁設定新密碼，並請管理員關閉兩步驟驗證。',
    },
    'second-factor-off': {
      subject: '您的 MumiChat 帳號已關閉兩步驟驗證',
      lead: '從現在起，登入您的 MumiChat 帳號只需要密碼。',
      otherwise: '如果不是您本人，請立刻在您伺服器的「忘記密碼」網頁設定新密碼。',
    },
    'passkey-added': {
      subject: '您的 MumiChat 帳號已新增通行密鑰',
      lead: '持有這把通行密鑰的人不需要密碼與驗證碼就能登入您的 MumiChat 帳號。',
      otherwise: '如果不是您本人，請立刻在您伺服器的「忘記密碼」網頁設定新密碼，所有通行密鑰都會失效。',
    },
    'recovery-codes-renewed': {
      subject: '您的 MumiChat 帳號已更換復原碼',
      lead: '您的 MumiChat 帳號已產生新的復原碼，先前的復原碼都已失效。',
      otherwise: '如果不是您本人，請立刻在您伺服器的「忘記密碼」網頁設定新密碼，並產生新的復原碼。',
    },
    'app-password-made': {
      subject: '您的 MumiChat 帳號有新的應用程式密碼',
      lead: '已為應用程式或裝置產生一組密碼，只憑這組密碼就能登入您的 MumiChat 帳號。',
      otherwise: '如果不是您本人，請在您伺服器的「忘記密碼」網頁設定新密碼，所有應用程式密碼都會失效。',
    },
  },
}

/** @param minutes rounded down, at least 1 */
export function validFor(locale: Locale, ms: number): string {
  const minutes = Math.max(1, Math.floor(ms / 60_000))
  const [count, en, zh] =
    minutes < 120
      ? [minutes, 'minute', '分鐘']
      : minutes < 2880
        ? [Math.floor(minutes / 60), 'hour', '小時']
        : [Math.floor(minutes / 1440), 'day', '天']
  if (locale === 'zh-TW') return `有效時間：${count} ${zh}，只能使用一次。`
  return `Good for ${count} ${en}${count === 1 ? '' : 's'}, and for one use.`
}
