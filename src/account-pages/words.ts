/** What the pages say. */
import type { Locale } from '../core/errors.js'

const EN = {
  account: 'Your MumiChat account',
  forgot: 'Forgotten password',
  forgotLead:
    'A letter with a link and a code will be sent to your email address. With either, you set a new password.',
  email: 'Email address',
  send: 'Send the letter',
  sent: 'Look into your mail',
  sentLead:
    'If an account has this address, a letter is on its way to it. It may take some minutes; look among the spam, too. You can enter its code here.',
  reset: 'New password',
  resetLead: 'Everybody who is logged in with this account will be logged out, devices too.',
  code: 'Code of the letter',
  newPassword: 'New password',
  repeat: 'New password, once more',
  set: 'Set the password',
  resetDone: 'Your password is set',
  resetDoneLead: 'You can log in with it now. You may close this page.',
  verify: 'Confirm your email address',
  verifyLead: 'Confirm that this email address is yours.',
  confirm: 'Confirm',
  verifyDone: 'Your email address is confirmed',
  verifyDoneLead: 'You may close this page.',
  resend: 'Send another letter',
  undo: 'Take the change of your email address back',
  undoLead:
    'Your account gets this address back. Whoever changed it knew your password, so choose a new one. Everybody who is logged in will be logged out.',
  undoConfirm: 'Take it back',
  undoDone: 'Your account has its address back',
  undoDoneLead: 'Log in with the new password. You may close this page.',
  badLink: 'This link was used, or has expired. Ask for another letter.',
  badCode: 'That code is wrong, was used, or has expired.',
  badEmail: 'That is not an email address.',
  badPassword:
    'That password is not allowed here: it is too short, too common, or has characters that nobody can type.',
  different: 'The two passwords are not the same.',
  missing: 'Please fill in all fields.',
  taken: 'Another account has this email address by now.',
  tooMany: 'Too many attempts. Please wait some minutes, and try again.',
  later: 'That did not work right now. Please try again in a moment.',
  oldForm: 'This page was open for too long. Please send it again.',
  foreign: 'This form came from another website. Please open the page here.',
  noPage: 'There is no such page.',
  otherLanguage: '中文',
} as const

const ZH: Readonly<Record<keyof typeof EN, string>> = {
  account: '您的 MumiChat 帳號',
  forgot: '忘記密碼',
  forgotLead: '我們會寄一封信到您的電子郵件地址，用信中的連結或驗證碼即可設定新密碼。',
  email: '電子郵件地址',
  send: '寄出信件',
  sent: '請查看您的信箱',
  sentLead:
    '如果有帳號使用這個電子郵件地址，信件已經寄出。可能需要幾分鐘，也請查看垃圾郵件匣。您可以在這裡輸入信中的驗證碼。',
  reset: '設定新密碼',
  resetLead: '所有以這個帳號登入的連線與裝置都會登出。',
  code: '信中的驗證碼',
  newPassword: '新密碼',
  repeat: '再輸入一次新密碼',
  set: '設定密碼',
  resetDone: '密碼已設定',
  resetDoneLead: '現在可以用新密碼登入，您可以關閉這個網頁。',
  verify: '確認電子郵件地址',
  verifyLead: '請確認這個電子郵件地址是您的。',
  confirm: '確認',
  verifyDone: '電子郵件地址已確認',
  verifyDoneLead: '您可以關閉這個網頁。',
  resend: '再寄一封信',
  undo: '取消變更電子郵件地址',
  undoLead:
    '您的帳號會恢復使用這個電子郵件地址。變更它的人知道您的密碼，所以請設定新密碼。所有連線都會登出。',
  undoConfirm: '取消變更',
  undoDone: '您的帳號已恢復原來的電子郵件地址',
  undoDoneLead: '請用新密碼登入，您可以關閉這個網頁。',
  badLink: '這個連結已使用過或已過期，請再要求一封信。',
  badCode: '驗證碼錯誤、已使用過或已過期。',
  badEmail: '這不是電子郵件地址。',
  badPassword: '不能使用這個密碼：太短、太常見，或含有無法輸入的字元。',
  different: '兩次輸入的密碼不同。',
  missing: '請填寫所有欄位。',
  taken: '已有其他帳號使用這個電子郵件地址。',
  tooMany: '嘗試次數過多，請等幾分鐘後再試。',
  later: '暫時無法完成，請稍後再試。',
  oldForm: '這個網頁開啟太久了，請再送出一次。',
  foreign: '這個表單來自其他網站，請在這裡開啟網頁。',
  noPage: '沒有這個網頁。',
  otherLanguage: 'English',
}

export type Word = keyof typeof EN

export const WORDS: Readonly<Record<Locale, Readonly<Record<Word, string>>>> = { en: EN, 'zh-TW': ZH }

/** The language that a browser prefers (RFC 9110, 12.5.4) of those that there are: the first that it names. */
export function preferredLocale(header: string | undefined, otherwise: Locale): Locale {
  const [, first] = /(?:^|[\s,])(en|zh)(?=[-;,\s]|$)/i.exec((header ?? '').slice(0, 256)) ?? []
  if (first === undefined) return otherwise
  return first.toLowerCase() === 'en' ? 'en' : 'zh-TW'
}
